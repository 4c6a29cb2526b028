#![no_main]

#[path = "../properties/terminal.rs"]
mod terminal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terminal::check(bytes));

#![no_main]

#[path = "../properties/paths.rs"]
mod paths;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| paths::check(bytes));

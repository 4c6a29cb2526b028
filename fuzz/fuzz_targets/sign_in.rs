#![no_main]

#[path = "../properties/sign_in.rs"]
mod sign_in;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sign_in::check(bytes));

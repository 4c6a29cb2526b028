#![no_main]

#[path = "../properties/stream_json.rs"]
mod stream_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| stream_json::check(bytes));

#![no_main]

#[path = "../properties/known_hosts.rs"]
mod known_hosts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| known_hosts::check(bytes));

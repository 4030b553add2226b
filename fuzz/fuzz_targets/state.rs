#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pelago_fuzz::state(bytes));

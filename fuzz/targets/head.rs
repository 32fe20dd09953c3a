//! libFuzzer's way to [`fuzz::head`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::head(bytes));

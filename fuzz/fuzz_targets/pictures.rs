#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fcm_fuzz::pictures(data));

//! Any bytes as a path and as an authority.
#![no_main]

#[path = "../checks/path_normalize.rs"]
mod path_normalize;

libfuzzer_sys::fuzz_target!(|data: &[u8]| path_normalize::check(data));

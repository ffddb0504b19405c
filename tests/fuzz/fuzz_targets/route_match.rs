//! Any bytes as routes and requests.
#![no_main]

#[path = "../checks/route_match.rs"]
mod route_match;
#[path = "../../../proxy/route/tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|data: &[u8]| route_match::check(data));

//! What holds for every PROXY protocol header.

use sluice_proxy::listen::parse_proxy_header;

/// Panics when a law is broken.
pub(crate) fn check(data: &[u8]) {
    if parse_proxy_header(data).is_err() {
        return;
    }
    // A header says itself where it ends: no part of it is one, and nothing may follow.
    for len in 0..data.len() {
        assert!(parse_proxy_header(&data[..len]).is_err(), "{len}");
    }
    let longer = [data, b"x"].concat();
    assert!(parse_proxy_header(&longer).is_err());
}

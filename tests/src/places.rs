//! Loopback addresses that no two tests share.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address of 127.0.0.0/8 that nobody else of this machine's tests uses: 14 bits of the process, 9 of a counter.
pub fn loopback() -> IpAddr {
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % 500;
    let bits = (std::process::id() & 0x3fff) << 9 | (number + 1);
    // 127.0.0.0/9 is left to everybody else.
    let [_, b, c, d] = (bits | 0x0080_0000).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::loopback;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_calls_share_an_address() {
        let addresses: BTreeSet<_> = (0..200).map(|_| loopback()).collect();
        assert_eq!(addresses.len(), 200);
        assert!(addresses.iter().all(std::net::IpAddr::is_loopback));
    }
}

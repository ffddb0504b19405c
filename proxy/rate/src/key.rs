//! Keys: what a request is counted by, as one hash of its parts.

use ahash::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

/// Makes hashes that nobody outside can foresee: each seed has its own.
#[derive(Clone, Debug, Default)]
pub struct KeySeed(RandomState);

impl KeySeed {
    /// Begins a key.
    pub fn key(&self) -> KeyHasher {
        KeyHasher(self.0.build_hasher())
    }
}

/// A key in the making. Parts that differ make keys that differ, however they are cut.
#[derive(Debug)]
pub struct KeyHasher(ahash::AHasher);

impl KeyHasher {
    /// Adds the address of a client. All addresses of one /64 of IPv6 are one client: that is what one customer of a
    /// network has at least, and may change among as it likes.
    pub fn address(&mut self, address: IpAddr) {
        match address.to_canonical() {
            IpAddr::V4(address) => self.0.write_u64(u64::from(address.to_bits())),
            // One more than any address of IPv4 has.
            IpAddr::V6(address) => self.0.write_u128((1 << 127) | (address.to_bits() >> 64)),
        }
    }

    /// Adds a text; what is absent differs from what is empty.
    pub fn text(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => {
                self.0.write_u64(text.len() as u64 + 1);
                self.0.write(text);
            }
            None => self.0.write_u64(0),
        }
    }

    /// The hash.
    pub fn finish(self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::KeySeed;

    #[test]
    fn an_ipv6_client_is_its_64_bits_of_network() {
        let seed = KeySeed::default();
        let of = |address: &str| {
            let mut key = seed.key();
            key.address(address.parse().unwrap());
            key.finish()
        };
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::"), of("0.0.0.0"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let seed = KeySeed::default();
        let of = |parts: &[Option<&str>]| {
            let mut key = seed.key();
            parts.iter().for_each(|part| key.text(part.map(str::as_bytes)));
            key.finish()
        };
        assert_ne!(of(&[Some("ab"), Some("c")]), of(&[Some("a"), Some("bc")]));
        assert_ne!(of(&[Some("")]), of(&[None]));
        assert_eq!(of(&[Some("a"), None]), of(&[Some("a"), None]));
    }
}

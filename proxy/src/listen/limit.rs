//! How many connections a port has open, in total and by client.
//!
//! A slot is held as long as its connection's socket is open and counted back when it is dropped. The map of clients
//! is split into shards and forgets a client with its last connection, so that it is never larger than the number of
//! open connections.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

const SHARDS: usize = 64;

type Clients = HashMap<IpAddr, u32, ahash::RandomState>;

/// Open connections of one port.
pub(crate) struct Slots {
    open: AtomicU32,
    hash: ahash::RandomState,
    /// Made for the first client that is counted: a sidecar has many ports, and counts none at most of them.
    clients: OnceLock<Box<[Mutex<Clients>]>>,
}

impl Slots {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { open: AtomicU32::new(0), hash: ahash::RandomState::new(), clients: OnceLock::new() })
    }

    /// Takes one of `limit` slots of the port.
    pub(crate) fn port(self: &Arc<Self>, limit: u32) -> Option<PortSlot> {
        let take = |open: u32| (open < limit).then(|| open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(PortSlot(self.clone()))
    }

    /// Takes one of `limit` slots of the client; with the largest limit nobody is counted.
    pub(crate) fn client(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<ClientSlot> {
        if limit == u32::MAX {
            return Some(ClientSlot(None));
        }
        let client = client_of(address);
        let mut shard = self.shard(client)?.lock();
        match shard.entry(client) {
            Entry::Occupied(count) if *count.get() >= limit => return None,
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(_) if limit == 0 => return None,
            Entry::Vacant(first) => {
                first.insert(1);
            }
        }
        drop(shard);
        Some(ClientSlot(Some((self.clone(), client))))
    }

    fn shard(&self, client: IpAddr) -> Option<&Mutex<Clients>> {
        let clients = self.clients.get_or_init(|| (0..SHARDS).map(|_| Mutex::default()).collect());
        clients.get(self.hash.hash_one(client) as usize % SHARDS)
    }
}

/// Who shares a limit: an IPv4 address; of IPv6 the /64, because a single client chooses freely within it. An IPv4
/// address written as IPv6 is the IPv4 address.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// A connection of a port.
pub(crate) struct PortSlot(Arc<Slots>);

impl Drop for PortSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection of a client; nobody's where none is counted.
pub(crate) struct ClientSlot(Option<(Arc<Slots>, IpAddr)>);

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let Some((slots, client)) = &self.0 else { return };
        let Some(shard) = slots.shard(*client) else { return };
        let mut shard = shard.lock();
        if let Entry::Occupied(mut count) = shard.entry(*client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        // A burst of clients must not keep its memory.
        if shard.is_empty() && shard.capacity() > 64 {
            *shard = Clients::default();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{IpAddr, Slots};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_has_so_many_slots_and_gets_them_back() {
        let slots = Slots::new();
        let first = slots.port(2).unwrap();
        let _second = slots.port(2).unwrap();
        assert!(slots.port(2).is_none());
        drop(first);
        assert!(slots.port(2).is_some());
        assert!(slots.port(0).is_none());
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network_and_is_forgotten_with_its_last_connection() {
        let slots = Slots::new();
        let held = [ip("192.0.2.1"), ip("::ffff:192.0.2.1"), ip("2001:db8::1"), ip("2001:db8::2")]
            .map(|address| slots.client(address, 2).unwrap());
        assert!(slots.client(ip("192.0.2.1"), 2).is_none());
        assert!(slots.client(ip("2001:db8::ffff:3"), 2).is_none());
        assert!(slots.client(ip("2001:db8:0:1::1"), 2).is_some());
        assert!(slots.client(ip("192.0.2.2"), 2).is_some());
        assert!(slots.client(ip("192.0.2.2"), 0).is_none());
        drop(held);
        let clients = slots.clients.get().unwrap();
        assert!(clients.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let slots = Slots::new();
        let _held = slots.client(ip("192.0.2.1"), u32::MAX).unwrap();
        assert!(slots.clients.get().is_none());
    }
}

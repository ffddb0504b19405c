//! Pingora's description of the endpoint that one try connects to.

use super::endpoint::millis;
use super::tls::new_key;
use ahash::RandomState;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::ext::TcpKeepalive;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _, PeerOptions};
use sluice_ir::{BackendProtocol, ConnectionTerms, Limits};
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an idle connection to an endpoint is kept for the next request.
pub const POOL_IDLE: Duration = Duration::from_secs(60);

/// Streams that share one HTTP/2 connection to an endpoint; more open another connection.
pub const STREAMS_PER_UPSTREAM: usize = 100;

/// How long a connection stays that is not used again.
const LET_GO: Duration = Duration::from_millis(100);

/// How long an HTTP/2 connection stays without a request where connections are exchanged by their requests.
const SOON: Duration = Duration::from_secs(1);

/// First probe of a silent connection, and the time between two probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: usize = 3;

/// The peer at `address`. Costs the one allocation of the box: no name is resolved, nothing is parsed.
///
/// Connections are shared by all who name the same address, protocol and `group`. Pingora's own pool key leaves out
/// the protocol (ALPN), so it is part of the group key here: an HTTP/2 connection is never taken for an HTTP/1.1 one.
pub fn peer(address: SocketAddr, protocol: BackendProtocol, limits: &Limits, group: u64) -> Box<HttpPeer> {
    let mut peer = Box::new(HttpPeer::new(address, false, String::new()));
    peer.group_key = group.rotate_left(2) ^ protocol_bits(protocol);
    set_options(&mut peer.options, protocol, limits);
    peer
}

fn set_options(options: &mut PeerOptions, protocol: BackendProtocol, limits: &Limits) {
    options.connection_timeout = Some(limits.connect_timeout);
    options.total_connection_timeout = Some(limits.connect_timeout);
    options.read_timeout = Some(limits.stream_idle_timeout);
    options.write_timeout = Some(limits.stream_idle_timeout);
    options.idle_timeout = Some(POOL_IDLE);
    options.tcp_keepalive = Some(keepalive());
    if protocol == BackendProtocol::H2c {
        options.alpn = ALPN::H2;
        options.max_h2_streams = STREAMS_PER_UPSTREAM;
    }
}

/// Gives the connection the terms of a rule, after everything else has said what kind of connection it is. `number` is
/// that of the request among those of its endpoint.
pub fn shape(peer: &mut HttpPeer, terms: &ConnectionTerms, now: Instant, number: u64) {
    let options = &mut peer.options;
    if let Some(timeout) = terms.connect_timeout {
        options.connection_timeout = Some(timeout);
        options.total_connection_timeout = Some(timeout);
    }
    if let Some(kept_for) = terms.kept_for
        && options.custom_l4.is_none()
    {
        options.idle_timeout = Some(kept_for);
    }
    if let Some(wanted) = &terms.keepalive {
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: wanted.after,
            interval: wanted.interval,
            count: wanted.probes as usize,
            ..keepalive()
        });
    }
    if let Some(streams) = terms.streams
        && options.max_h2_streams > 1
    {
        options.max_h2_streams = streams as usize;
    }
    if let Some(life) = terms.lives_for {
        // Connections of one span are exchanged together; each endpoint has its own beginning.
        let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        let address = mixed(peer.address().as_inet());
        let span = millis(now).saturating_add(address % life_ms) / life_ms;
        peer.group_key = mixed((peer.group_key, span, "span"));
        let options = &mut peer.options;
        options.idle_timeout = Some(options.idle_timeout.map_or(life, |it| it.min(life)));
    }
    if let Some(most) = terms.requests
        && peer.options.max_h2_streams > 1
    {
        // Of HTTP/2 all connections of so many requests are exchanged together.
        peer.group_key = mixed((peer.group_key, number / u64::from(most.max(1)), "requests"));
        let options = &mut peer.options;
        options.idle_timeout = Some(options.idle_timeout.map_or(SOON, |it| it.min(SOON)));
    }
    if terms.is_used_once {
        // A key that nobody asks for again.
        peer.group_key = new_key();
        peer.options.idle_timeout = Some(LET_GO);
    }
}

/// A key made of several things, the same in this process for the same ones.
fn mixed(parts: impl Hash) -> u64 {
    RandomState::with_seeds(1, 2, 3, 4).hash_one(parts)
}

fn protocol_bits(protocol: BackendProtocol) -> u64 {
    match protocol {
        BackendProtocol::Http1 => 0,
        BackendProtocol::H2c => 1,
        BackendProtocol::Tcp => 2,
        BackendProtocol::Udp => 3,
    }
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle: KEEPALIVE_IDLE,
        interval: KEEPALIVE_INTERVAL,
        count: KEEPALIVE_PROBES,
        // The probes alone decide: a body that stalls is bounded by the read and write timeouts.
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{STREAMS_PER_UPSTREAM, peer, shape};
    use pingora_core::protocols::ALPN;
    use pingora_core::upstreams::peer::Peer as _;
    use sluice_ir::{BackendProtocol, ConnectionTerms, Keepalive, Limits};
    use std::time::{Duration, Instant};

    #[test]
    fn a_peer_carries_the_address_and_every_timeout() {
        let limits = Limits { connect_timeout: Duration::from_millis(70), ..Limits::default() };
        let peer = peer("[::1]:8080".parse().unwrap(), BackendProtocol::Http1, &limits, 0);
        assert_eq!(peer.address().as_inet().unwrap().to_string(), "[::1]:8080");
        assert!(!peer.is_tls());
        assert_eq!(peer.options.connection_timeout, Some(Duration::from_millis(70)));
        assert_eq!(peer.options.total_connection_timeout, Some(Duration::from_millis(70)));
        assert_eq!(peer.options.read_timeout, Some(limits.stream_idle_timeout));
        assert_eq!(peer.options.write_timeout, Some(limits.stream_idle_timeout));
        assert!(peer.options.idle_timeout.is_some() && peer.options.tcp_keepalive.is_some());
        assert_eq!(peer.options.alpn, ALPN::H1);
    }

    #[test]
    fn prior_knowledge_speaks_http2_over_shared_connections() {
        let peer = peer("127.0.0.1:1".parse().unwrap(), BackendProtocol::H2c, &Limits::default(), 0);
        assert_eq!((&peer.options.alpn, peer.options.max_h2_streams), (&ALPN::H2, STREAMS_PER_UPSTREAM));
    }

    #[test]
    fn a_rule_changes_what_it_names_and_nothing_else() {
        let plain = || peer("127.0.0.1:1".parse().unwrap(), BackendProtocol::H2c, &Limits::default(), 7);
        let (before, mut after) = (plain(), plain());
        shape(&mut after, &ConnectionTerms::default(), Instant::now(), 0);
        assert_eq!((after.group_key, after.reuse_hash()), (before.group_key, before.reuse_hash()));
        assert_eq!(after.options.idle_timeout, before.options.idle_timeout);
        let second = Duration::from_secs(1);
        let keepalive = Keepalive { probes: 2, after: second * 3, interval: second * 4 };
        let terms = ConnectionTerms {
            connect_timeout: Some(second),
            kept_for: Some(second * 2),
            keepalive: Some(keepalive),
            streams: Some(5),
            ..ConnectionTerms::default()
        };
        shape(&mut after, &terms, Instant::now(), 0);
        assert_eq!(after.options.total_connection_timeout, Some(second));
        assert_eq!(after.options.idle_timeout, Some(second * 2));
        assert_eq!(after.options.max_h2_streams, 5);
        let probes = after.options.tcp_keepalive.as_ref().unwrap();
        assert_eq!((probes.count, probes.idle, probes.interval), (2, second * 3, second * 4));
        assert_eq!(after.options.read_timeout, before.options.read_timeout);
    }

    #[test]
    fn a_connection_that_is_used_once_is_never_found_again() {
        let once = || {
            let mut peer =
                peer("127.0.0.1:1".parse().unwrap(), BackendProtocol::Http1, &Limits::default(), 7);
            let terms = ConnectionTerms { is_used_once: true, ..ConnectionTerms::default() };
            shape(&mut peer, &terms, Instant::now(), 0);
            peer.reuse_hash()
        };
        assert_ne!(once(), once());
    }

    #[test]
    fn a_connection_is_found_for_its_time_and_its_requests_and_never_after() {
        let begun = Instant::now();
        let key = |terms: &ConnectionTerms, protocol, seconds: u64, number| {
            let mut peer = peer("127.0.0.1:1".parse().unwrap(), protocol, &Limits::default(), 7);
            shape(&mut peer, terms, begun + Duration::from_secs(seconds), number);
            peer.reuse_hash()
        };
        let ten = Duration::from_secs(10);
        let terms = ConnectionTerms { lives_for: Some(ten), ..ConnectionTerms::default() };
        let keys: Vec<_> = (0..60).map(|it| key(&terms, BackendProtocol::Http1, it, 0)).collect();
        let mut distinct = keys.clone();
        distinct.dedup();
        assert!((6..=7).contains(&distinct.len()), "{distinct:?}");
        for (second, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(second + 10).all(|it| it != key), "used again after its time");
        }
        let terms = ConnectionTerms { requests: Some(3), ..ConnectionTerms::default() };
        let keys: Vec<_> = (0..9).map(|it| key(&terms, BackendProtocol::H2c, 0, it)).collect();
        let same = |a: usize, b: usize| keys[a] == keys[b];
        assert!(same(0, 2) && !same(2, 3) && same(3, 5) && !same(5, 6) && !same(0, 6), "{keys:?}");
        assert_eq!(key(&terms, BackendProtocol::Http1, 0, 0), key(&terms, BackendProtocol::Http1, 0, 8));
    }

    #[test]
    fn connections_are_shared_by_address_protocol_and_group_only() {
        let key = |protocol, group, connect_ms| {
            let limits = Limits { connect_timeout: Duration::from_millis(connect_ms), ..Limits::default() };
            peer("127.0.0.1:1".parse().unwrap(), protocol, &limits, group).reuse_hash()
        };
        let plain = key(BackendProtocol::Http1, 1, 5);
        assert_eq!(plain, key(BackendProtocol::Http1, 1, 9));
        assert_ne!(plain, key(BackendProtocol::H2c, 1, 5));
        assert_ne!(plain, key(BackendProtocol::Http1, 2, 5));
    }
}

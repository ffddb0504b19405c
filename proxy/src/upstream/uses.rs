//! How many requests each HTTP/1.1 connection to a backend has carried (`maxRequestsPerConnection` of a
//! DestinationRule). At the last one the endpoint is told that the connection ends with it (RFC 9112 §9.6).

use ahash::AHashMap;
use parking_lot::Mutex;
use pingora_core::protocols::SocketDigest;
use std::sync::{Arc, Weak};

/// Connections that are remembered before those that are gone are looked for.
const ROOM: usize = 64;

/// The counts of one backend. Counting takes a lock for a moment; backends without such a rule have none.
#[derive(Debug, Default)]
pub struct Uses(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By where the connection's digest lives, which nobody else has while the connection is there.
    of: AHashMap<usize, (Weak<SocketDigest>, u32)>,
    /// Grows with the number of open connections and no further.
    room: usize,
}

impl Uses {
    /// Notes that a connection carries one more request; whether it is the last of `most`.
    pub fn is_last(&self, connection: &Arc<SocketDigest>, most: u32) -> bool {
        let mut counts = self.0.lock();
        if counts.of.len() >= counts.room.max(ROOM) {
            counts.of.retain(|_, (it, _)| it.strong_count() > 0);
            counts.room = counts.of.len() * 2;
        }
        let key = Arc::as_ptr(connection).addr();
        let (known, count) = counts.of.entry(key).or_insert_with(|| (Arc::downgrade(connection), 0));
        if known.strong_count() == 0 {
            // A new one at the place of one that is gone.
            (*known, *count) = (Arc::downgrade(connection), 0);
        }
        *count = count.saturating_add(1);
        *count >= most
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{ROOM, Uses};
    use pingora_core::protocols::SocketDigest;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::sync::Arc;

    #[test]
    fn each_connection_is_counted_for_itself_and_forgotten_with_its_end() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = || Arc::new(SocketDigest::from_raw_fd(socket.as_raw_fd()));
        let uses = Uses::default();
        let (a, b) = (connection(), connection());
        let turns = [(&a, false), (&b, false), (&a, false), (&b, false), (&a, true), (&a, true), (&b, true)];
        for (connection, is_last) in turns {
            assert_eq!(uses.is_last(connection, 3), is_last);
        }
        for _ in 0..10 * ROOM {
            assert!(!uses.is_last(&connection(), 2));
        }
        assert!(uses.0.lock().of.len() <= ROOM);
    }
}

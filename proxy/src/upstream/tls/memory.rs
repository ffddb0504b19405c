//! What the proxy at the other end of a connection has said that it remembers.

use pingora_core::protocols::Digest;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the other end knows who we are, so that no further request on the connection has to say it.
#[derive(Debug, Default)]
pub(crate) struct PeerMemory(AtomicBool);

impl PeerMemory {
    /// It says that it does.
    pub(crate) fn note(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it has said so.
    pub(crate) fn knows_us(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// That of a connection's other end, from the connection's digest; `None` where the connection has no place for it.
    pub(crate) fn of(digest: &Digest) -> Option<Arc<Self>> {
        digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref::<Arc<Self>>().cloned()
    }

    /// The place for it in the digest of a new connection: Pingora has none but that for the answer of a proxy.
    pub(super) fn place() -> Option<Arc<ProxyDigest>> {
        let answer = ResponseHeader::build_no_case(200, Some(0)).ok()?;
        Some(Arc::new(ProxyDigest::new(Box::new(answer), Some(Box::new(Arc::new(Self::default()))))))
    }
}

//! Who this data plane is in the mesh: its identity as it is now, and what is built of it.
//!
//! Everything that is made of an identity hangs on it and goes with it, so that after a rotation nothing new is done with
//! the old one, and nothing that runs is disturbed.

use crate::identity::Identity;
use crate::listen::Within;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use rustls::{ClientConfig, ServerConfig};
use sluice_ir::SpiffeId;
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// The own identity, followed.
pub struct Own {
    current: ArcSwapOption<OwnState>,
    /// Held by who changes any of it.
    parts: Mutex<Parts>,
    changed: Notify,
    /// Follows the identity; `None`: there is none to follow.
    follows: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Default)]
struct Parts {
    identity: Option<Arc<Identity>>,
    domains: Arc<[String]>,
}

impl Own {
    /// Nobody, for ever.
    pub(crate) fn nobody() -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwapOption::empty(),
            parts: Mutex::default(),
            changed: Notify::new(),
            follows: Mutex::default(),
        })
    }

    /// Whoever the receiver says. Must be called within a tokio runtime.
    pub(crate) fn follow(mut identity: watch::Receiver<Option<Arc<Identity>>>) -> Arc<Self> {
        let own = Self::nobody();
        own.set_identity(identity.borrow_and_update().clone());
        let weak = Arc::downgrade(&own);
        let follows = tokio::spawn(async move {
            while identity.changed().await.is_ok() {
                let Some(own) = weak.upgrade() else { break };
                own.set_identity(identity.borrow_and_update().clone());
            }
        });
        *own.follows.lock() = Some(AbortOnDropHandle::new(follows));
        own
    }

    fn set_identity(&self, identity: Option<Arc<Identity>>) {
        let mut parts = self.parts.lock();
        parts.identity = identity;
        self.publish(&parts);
    }

    /// Sets the trust domains that count as one; none: that of the identity alone.
    pub(crate) fn set_domains(&self, domains: &[String]) {
        let mut parts = self.parts.lock();
        if *parts.domains != *domains {
            parts.domains = domains.into();
            self.publish(&parts);
        }
    }

    fn publish(&self, parts: &Parts) {
        self.current.store(parts.identity.as_ref().map(|identity| {
            let own = identity.id.trust_domain().to_owned();
            let others = parts.domains.iter().filter(|it| **it != own).cloned();
            let domains: Arc<[String]> = std::iter::once(own.clone()).chain(others).collect();
            Arc::new(OwnState { identity: identity.clone(), domains, servers: Default::default() })
        }));
        self.changed.notify_waiters();
    }

    /// Who it is now; costs one load.
    pub(crate) fn get(&self) -> Option<Arc<OwnState>> {
        self.current.load_full()
    }

    /// Who it is, as soon as it is anybody. Bounds no time: the caller does. Cancel safe.
    pub(crate) async fn wait(&self) -> Arc<OwnState> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed.
            changed.as_mut().enable();
            if let Some(own) = self.get() {
                return own;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("id", &self.get().map(|it| it.id().to_string())).finish_non_exhaustive()
    }
}

/// An identity and what is built of it.
pub(crate) struct OwnState {
    identity: Arc<Identity>,
    domains: Arc<[String]>,
    servers: [OnceLock<Result<Arc<ServerConfig>, String>>; 3],
}

impl OwnState {
    pub(crate) fn id(&self) -> &SpiffeId {
        &self.identity.id
    }

    /// The trust domains of the mesh, the own one first.
    pub(crate) fn domains(&self) -> &[String] {
        &self.domains
    }

    /// TLS for clients of the mesh that say so of what is within. Built once.
    ///
    /// # Errors
    /// When rustls does not take the identity.
    pub(crate) fn server(&self, within: Within) -> Result<&Arc<ServerConfig>, &str> {
        // The usual names first: peers that compare what is chosen with these know no others.
        let (place, alpn): (usize, &[&[u8]]) = match within {
            Within::Http1 => (0, &[b"http/1.1", b"istio-http/1.1", b"istio-http/1.0"]),
            Within::Http2 => (1, &[b"h2", b"istio-h2"]),
            Within::Whole => (2, &[b"istio"]),
        };
        let [http1, http2, whole] = &self.servers;
        let server = match place {
            0 => http1,
            1 => http2,
            _ => whole,
        };
        let built = server.get_or_init(|| {
            let config = self.identity.server_config(&self.domains, alpn);
            config.map(Arc::new).map_err(|error| error.to_string())
        });
        built.as_ref().map_err(String::as_str)
    }

    /// TLS to servers that are one of these.
    pub(crate) fn client(
        &self,
        expected: Arc<[SpiffeId]>,
        alpn: &[&[u8]],
    ) -> Result<ClientConfig, rustls::Error> {
        self.identity.client_config(expected, alpn)
    }
}

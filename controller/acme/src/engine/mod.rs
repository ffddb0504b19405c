//! Runs orders for what is wanted.
//!
//! [`Engine::run`] is one future that owns everything under way: dropping it stops at once and leaves in the store what
//! the next engine needs. A [`Handle`] shows statuses and asks for names of handshakes.

use crate::{CertificateKey, Challenges, IssuerName, IssuerState, Scope, Status, Store, WantedSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tells the time: the system's, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// From a function.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Tells this engine from others on the same store: the pod's name, or one of the process.
    pub owner: String,
    /// Orders at one time.
    pub parallel_orders: usize,
    /// Longest time of one attempt; an order that takes longer is gone on with in the next one.
    pub attempt_timeout: Duration,
    /// How long a reservation of another engine must rest unchanged before this one takes the order over. Longer than
    /// the request that makes the order may take.
    pub settle: Duration,
    /// Shortest and longest pause after a failure; it doubles in between.
    pub backoff: (Duration, Duration),
    /// The time.
    pub clock: Clock,
}

impl Settings {
    /// With defaults: 8 orders at one time, 5 minutes an attempt, pauses of a minute to a day.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            parallel_orders: 8,
            attempt_timeout: Duration::from_secs(300),
            settle: Duration::from_secs(20),
            backoff: (Duration::from_secs(60), Duration::from_secs(24 * 3600)),
            clock: Clock::default(),
        }
    }
}

/// Obtains and renews certificates.
pub struct Engine {
    store: Arc<dyn Store>,
    challenges: Arc<dyn Challenges>,
    settings: Settings,
    handle: Handle,
}

impl Engine {
    /// An engine that does nothing until it runs.
    pub fn new(store: Arc<dyn Store>, challenges: Arc<dyn Challenges>, settings: Settings) -> Self {
        let handle = Handle {
            statuses: watch::Sender::new(Arc::default()),
            issuers: watch::Sender::new(Arc::default()),
        };
        Self { store, challenges, settings, handle }
    }

    /// To ask it while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Obtains and renews what is wanted until `stop`. Dropping the future is allowed at any moment.
    pub async fn run(self, wanted: watch::Receiver<Arc<WantedSet>>, stop: CancellationToken) {
        let _ = (&self.store, &self.challenges, &self.settings, wanted);
        stop.cancelled().await;
    }
}

/// Shows what an engine knows, and asks it for names of handshakes. Cheap to clone; outlives the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    statuses: watch::Sender<Arc<BTreeMap<CertificateKey, Status>>>,
    issuers: watch::Sender<Arc<BTreeMap<IssuerName, IssuerState>>>,
}

impl Handle {
    /// Status of each wanted certificate. When `current.fingerprint` changes there is a new certificate in the store.
    pub fn statuses(&self) -> watch::Receiver<Arc<BTreeMap<CertificateKey, Status>>> {
        self.statuses.subscribe()
    }

    /// State of each issuer.
    pub fn issuers(&self) -> watch::Receiver<Arc<BTreeMap<IssuerName, IssuerState>>> {
        self.issuers.subscribe()
    }

    /// Asks for a certificate of one name, kept under `key`: returns when it is in the store. Many may ask for the same
    /// at one time. A name that was refused a moment ago is refused at once. Dropping the future lets the order go on.
    ///
    /// # Errors
    /// When it may not be made, or could not.
    pub async fn on_demand(
        &self,
        key: CertificateKey,
        issuer: IssuerName,
        name: String,
        scope: Scope,
    ) -> Result<(), Refused> {
        let _ = (key, issuer, name, scope);
        Err(Refused::Stopped)
    }
}

/// Why a name of a handshake gets no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The issuer does not exist or has no `on_demand`.
    #[error("issuer {0} takes no names on demand")]
    Issuer(IssuerName),
    /// No name that could have a certificate.
    #[error("{0}")]
    Name(String),
    /// The allow endpoint said no, or did not answer.
    #[error("{0}")]
    NotAllowed(String),
    /// A limit is used up.
    #[error("{0}")]
    Quota(String),
    /// The order failed, now or a moment ago.
    #[error("{0}")]
    Failed(String),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

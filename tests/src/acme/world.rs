//! An authority, its DNS and a data plane, started together, with engines on one store.

use super::{Front, HTTP_PORT, KEY_NAME, Named, Pebble, PebbleOptions, Responder, TLS_PORT};
use crate::wait::DEADLINE;
use sluice_acme::{
    CertificateKey, Challenges, Dns01, DomainSelector, Engine, FolderStore, Handle, Issuer, IssuerName,
    Preflight, Rfc2136, Scope, Secret, Settings, Solver, SolverKind, Status, Store, TsigAlgorithm, Wanted,
    WantedSet,
};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Name of the issuer.
pub const ISSUER: &str = "infra/pebble";

/// Everything.
pub struct World {
    /// The DNS server.
    pub named: Named,
    /// The authority.
    pub pebble: Pebble,
    /// The authority's door.
    pub front: Front,
    /// The data plane.
    pub responder: Responder,
    folder: TempDir,
}

/// An engine that runs. Dropping it drops the engine's future at once, as a death does.
pub struct Running {
    /// The way to it.
    pub handle: Handle,
    /// What it is to obtain.
    pub wanted: watch::Sender<Arc<WantedSet>>,
    task: JoinHandle<()>,
    _stop: DropGuard,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    /// Starts all of it.
    pub async fn start(options: PebbleOptions) -> Self {
        Self::with_records(options, "").await
    }

    /// With further records of the zone.
    pub async fn with_records(options: PebbleOptions, records: &str) -> Self {
        let responder = Responder::start().await;
        let named = Named::start(responder.ip(), records).await;
        let pebble = Pebble::start(named.address(), &options).await;
        let front = Front::start(pebble.address()).await;
        Self { named, pebble, front, responder, folder: tempfile::tempdir().expect("a folder") }
    }

    /// An issuer with these solvers.
    pub fn issuer(&self, solvers: &[SolverKind]) -> Issuer {
        let mut issuer = Issuer::new(IssuerName::new(ISSUER), self.front.directory());
        issuer.contacts = vec!["admin@example.test".to_owned()];
        issuer.authorities = Some(self.pebble.authorities());
        issuer.resolvers = vec![self.named.address()];
        issuer.preflight = Preflight {
            http_port: HTTP_PORT,
            tls_port: TLS_PORT,
            dns_port: self.named.address().port(),
            ..Preflight::default()
        };
        let solver = |kind: &SolverKind| Solver { kind: kind.clone(), selector: DomainSelector::default() };
        issuer.solvers = solvers.iter().map(solver).collect();
        issuer
    }

    /// DNS-01 by dynamic update.
    pub fn rfc2136(&self) -> SolverKind {
        SolverKind::Dns01(Dns01::Rfc2136(Rfc2136 {
            server: self.named.address(),
            zone: None,
            key_name: KEY_NAME.to_owned(),
            algorithm: TsigAlgorithm::HmacSha256,
            key: Secret::new(self.named.key()),
        }))
    }

    /// The store; each call opens it anew, as another process does.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(FolderStore::open(self.folder.path()).expect("a folder"))
    }

    /// The folder of the store.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The data plane.
    pub fn challenges(&self) -> Arc<dyn Challenges> {
        Arc::new(self.responder.clone())
    }

    /// Starts an engine on the store.
    pub fn engine(&self, set: WantedSet) -> Running {
        start(self.store(), self.challenges(), settings("engine"), set)
    }
}

/// Settings with short pauses.
pub fn settings(owner: &str) -> Settings {
    let mut settings = Settings::new(owner);
    settings.settle = Duration::from_secs(2);
    settings.backoff = (Duration::from_millis(500), Duration::from_secs(4));
    settings
}

/// Starts an engine.
pub fn start(
    store: Arc<dyn Store>,
    challenges: Arc<dyn Challenges>,
    settings: Settings,
    set: WantedSet,
) -> Running {
    let engine = Engine::new(store, challenges, settings);
    let (handle, stop) = (engine.handle(), CancellationToken::new());
    let (wanted, receiver) = watch::channel(Arc::new(set));
    let task = tokio::spawn(engine.run(receiver, stop.clone()));
    Running { handle, wanted, task, _stop: stop.drop_guard() }
}

/// A wish for a certificate of these names, kept under `shop/KEY`.
pub fn wanted(key: &str, names: &[&str]) -> Wanted {
    Wanted {
        key: key_of(key),
        issuer: IssuerName::new(ISSUER),
        names: names.iter().map(|it| (*it).to_owned()).collect(),
        scope: Scope::new("shop/gateway"),
    }
}

/// Where a certificate is kept.
pub fn key_of(key: &str) -> CertificateKey {
    CertificateKey::new(format!("shop/{key}"))
}

/// An issuer and certificates.
pub fn set(issuer: &Issuer, certificates: Vec<Wanted>) -> WantedSet {
    WantedSet { issuers: vec![Arc::new(issuer.clone())], certificates, ..WantedSet::default() }
}

impl Running {
    /// Until a certificate's status is as wanted.
    pub async fn status(&self, key: &str, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let (key, mut statuses) = (key_of(key), self.handle.statuses());
        let found = tokio::time::timeout(3 * DEADLINE, async {
            loop {
                let now = statuses.borrow_and_update().get(&key).cloned();
                if let Some(status) = now.filter(|it| is_so(it)) {
                    return (*status).clone();
                }
                statuses.changed().await.expect("the engine runs");
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{key}: {what}: {:?}", self.handle.statuses().borrow().get(&key)))
    }

    /// Until a certificate is there and rests.
    pub async fn issued(&self, key: &str) -> Status {
        let is_so =
            |it: &Status| it.current.is_some() && matches!(it.state, sluice_acme::State::Valid { .. });
        self.status(key, "is issued", is_so).await
    }
}

//! Certificates of `sluice run`: the engine in this process, its records in a folder.
//!
//! The engine starts with the first CertificateIssuer. Its certificates enter the translation as Secrets, unless the
//! manifests have a Secret of that name: then that one counts. What it wants of the gateway comes as [`News`], which the
//! loop of `run` takes one at a time.

use anyhow::Context as _;
use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sluice_acme::{
    CertificateKey, Challenge, ChallengeError, ChallengeId, Challenges, Engine, FolderStore, Handle, Item,
    Scope, Settings, Store, WantedSet,
};
use sluice_controller::acme::{self, NoCertificate, Offers};
use sluice_crds::{Object, ObjectRef};
use sluice_ir as ir;
use sluice_proxy::Proxy;
use sluice_proxy::tls::{NotObtained, Obtain};
use sluice_translate::{Change, Issuance, Translator};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// The table that `sluice certificates` reads.
pub const REPORT: &str = "certificates.json";

/// Where the state is when `--state` does not say: what systemd gives, else the user's.
pub fn default_state() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    if let Some(given) = variable("STATE_DIRECTORY") {
        return given;
    }
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("sluice")
}

/// Something that the gateway or its statuses must take over.
pub(super) enum News {
    /// All challenges that are to be answered; tell when they are.
    Challenges(Vec<ir::Challenge>, oneshot::Sender<()>),
    /// The engine has something new to say: [`Certificates::issuance`], [`Certificates::secrets`].
    Statuses,
}

/// The engine, once it runs.
pub(super) struct Certificates {
    folder: PathBuf,
    running: Option<Running>,
    /// What was loaded.
    loaded: BTreeMap<ObjectRef, Loaded>,
    news: mpsc::Sender<News>,
}

/// A certificate as it was read from the folder.
#[derive(PartialEq, Eq)]
struct Loaded {
    /// Of its file.
    version: String,
    /// What the engine told of it just before; while it tells the same, the file is not read again.
    fingerprint: Option<String>,
}

struct Running {
    store: Arc<FolderStore>,
    handle: Handle,
    wanted: watch::Sender<Arc<WantedSet>>,
    offers: watch::Sender<Arc<Offers>>,
    /// Whether the certificates of the folder were listed once.
    is_listed: AtomicBool,
    _stop: DropGuard,
}

impl Certificates {
    /// Nothing runs yet. News come by the receiver.
    pub(super) fn new(folder: PathBuf) -> (Self, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(16);
        (Self { folder, running: None, loaded: BTreeMap::new(), news }, receiver)
    }

    /// Tells the engine what the manifests ask for; starts it when they have an issuer.
    pub(super) fn want(&mut self, translator: &Translator, proxy: &Proxy) -> anyhow::Result<()> {
        let orders = translator.orders();
        if orders.issuers.is_empty() && self.running.is_none() {
            return Ok(());
        }
        let (set, offers) = (Arc::new(acme::wanted_set(&orders)), Arc::new(Offers::new(&orders.on_demand)));
        match &self.running {
            Some(running) => {
                running.offers.send_replace(offers);
                running.wanted.send_replace(set);
            }
            None => self.running = Some(self.start(set, offers, proxy)?),
        }
        Ok(())
    }

    fn start(&self, set: Arc<WantedSet>, offers: Arc<Offers>, proxy: &Proxy) -> anyhow::Result<Running> {
        let named = || format!("the state folder {} can't be used; see --state", self.folder.display());
        let store = Arc::new(FolderStore::open(&self.folder).with_context(named)?);
        let presenter = Arc::new(Presenter { news: self.news.clone(), all: tokio::sync::Mutex::default() });
        let engine = Engine::new(store.clone(), presenter, settings());
        let (handle, stop) = (engine.handle(), CancellationToken::new());
        let (wanted, receiver) = watch::channel(set);
        info!(state = %self.folder.display(), "certificates are ordered and kept here");
        tokio::spawn(engine.run(receiver, stop.clone()));
        tokio::spawn(tell(handle.clone(), self.news.clone(), self.folder.join(REPORT)));
        let offers = watch::Sender::new(offers);
        proxy.obtain_by(Arc::new(Asker { handle: handle.clone(), offers: offers.subscribe() }));
        let is_listed = AtomicBool::new(false);
        Ok(Running { store, handle, wanted, offers, is_listed, _stop: stop.drop_guard() })
    }

    /// What came of orders so far.
    pub(super) fn issuance(&self) -> Issuance {
        let Some(running) = &self.running else { return Issuance::default() };
        let (statuses, issuers) = (running.handle.statuses(), running.handle.issuers());
        acme::issuance(&statuses.borrow(), &issuers.borrow())
    }

    /// What changed in the folder since the last look, as changes of Secrets: certificates that came or were renewed, and
    /// those of handshakes that are gone.
    pub(super) async fn secrets(&mut self) -> Vec<Change> {
        let Some(running) = &self.running else { return Vec::new() };
        let mut keys: BTreeSet<CertificateKey> =
            running.wanted.borrow().certificates.iter().map(|it| it.key.clone()).collect();
        keys.extend(self.asked_for(running).await);
        // Before the files, so that a certificate that comes in between is read once more.
        let statuses = running.handle.statuses().borrow().clone();
        let mut changes = Vec::new();
        for key in keys {
            let reference = acme::secret_of(&key);
            let current = statuses.get(&key).and_then(|it| it.current.as_ref());
            let fingerprint = current.map(|it| it.fingerprint.clone());
            let known = self.loaded.get(&reference);
            if fingerprint.is_some() && known.is_some_and(|it| it.fingerprint == fingerprint) {
                continue;
            }
            match running.store.read(&Item::Certificate(key.clone())).await {
                Ok(Some(entry)) => {
                    let version = entry.version.0.clone();
                    let is_new = known.is_none_or(|it| it.version != version);
                    self.loaded.insert(reference, Loaded { version, fingerprint });
                    if is_new {
                        let secret = acme::certificate(&key, &entry.data);
                        changes.push(Change::Upsert(Object::Secret(Box::new(secret))));
                    }
                }
                Ok(None) if acme::is_on_demand(&key) => {
                    changes.extend(self.loaded.remove(&reference).map(|_| Change::Remove(reference)));
                }
                Ok(None) => {}
                Err(error) => warn!(certificate = %key, %error, "a certificate can't be read"),
            }
        }
        changes
    }

    /// Certificates that handshakes asked for: those that the engine keeps, those that are served, and at first those of
    /// the folder.
    async fn asked_for(&self, running: &Running) -> Vec<CertificateKey> {
        let statuses = running.handle.statuses();
        let mut keys: Vec<_> = statuses.borrow().keys().cloned().collect();
        keys.extend(self.loaded.keys().map(acme::key_of));
        if !running.is_listed.swap(true, Ordering::Relaxed) {
            match running.store.certificates().await {
                Ok(kept) => keys.extend(kept),
                Err(error) => {
                    let folder = self.folder.display();
                    warn!(%folder, %error, "the certificates of handshakes can't be listed; they are asked for anew");
                }
            }
        }
        keys.retain(acme::is_on_demand);
        keys
    }
}

/// Names of handshakes, for the engine of this process.
struct Asker {
    handle: Handle,
    offers: watch::Receiver<Arc<Offers>>,
}

impl Obtain for Asker {
    fn obtain(&self, gateway: ir::GatewayKey, name: String) -> BoxFuture<'static, Result<(), NotObtained>> {
        let (handle, offers) = (self.handle.clone(), self.offers.borrow().clone());
        async move {
            offers.obtain(&handle, &gateway, &name).await.map_err(|none| match none {
                NoCertificate::Unknown(why) => NotObtained::Unavailable(why),
                NoCertificate::Refused(refused) => NotObtained::Refused(refused.to_string()),
            })
        }
        .boxed()
    }
}

/// The engine's defaults; a test shortens the pauses.
fn settings() -> Settings {
    Settings::new(format!("sluice-run-{}", std::process::id()))
}

/// Tells that statuses changed, and keeps the table.
async fn tell(handle: Handle, news: mpsc::Sender<News>, report: PathBuf) {
    let (mut statuses, mut issuers) = (handle.statuses(), handle.issuers());
    loop {
        let changed = tokio::select! {
            changed = statuses.changed() => changed,
            changed = issuers.changed() => changed,
        };
        issuers.borrow_and_update();
        let rows = acme::rows(&statuses.borrow_and_update());
        if changed.is_err() || news.send(News::Statuses).await.is_err() {
            return;
        }
        let text = serde_json::to_string_pretty(&rows).unwrap_or_default();
        if let Err(error) = replace(&report, &text) {
            warn!(file = %report.display(), %error, "the table of certificates can't be written");
        }
    }
}

/// Writes beside and renames, readable by the owner alone.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file =
        std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)
}

/// Challenges of this process.
struct Presenter {
    news: mpsc::Sender<News>,
    all: tokio::sync::Mutex<BTreeMap<ir::ChallengeKey, ir::Challenge>>,
}

impl Presenter {
    /// Hands out all challenges and waits until they are answered.
    async fn hand_out(&self, edit: impl FnOnce(&mut BTreeMap<ir::ChallengeKey, ir::Challenge>)) -> bool {
        let (answer, answered) = oneshot::channel();
        {
            // Sent while held, so that the last word is the newest.
            let mut all = self.all.lock().await;
            edit(&mut all);
            if self.news.send(News::Challenges(all.values().cloned().collect(), answer)).await.is_err() {
                return false;
            }
        }
        answered.await.is_ok()
    }
}

#[async_trait]
impl Challenges for Presenter {
    async fn present(&self, scope: &Scope, challenge: &Challenge) -> Result<(), ChallengeError> {
        let new = acme::challenges(scope, challenge);
        let is_answered =
            self.hand_out(|all| all.extend(new.into_iter().map(|it| (it.key.clone(), it)))).await;
        match is_answered {
            true => Ok(()),
            false => Err(ChallengeError("the gateway is ending".to_owned())),
        }
    }

    async fn withdraw(&self, scope: &Scope, challenge: &ChallengeId) {
        let gone = acme::withdrawn(scope, challenge);
        self.hand_out(|all| gone.iter().for_each(|key| drop(all.remove(key)))).await;
    }
}

//! Certificates of `sluice run`: the engine in this process, its records in a folder.
//!
//! The engine starts with the first CertificateIssuer. Its certificates enter the translation as Secrets, unless the
//! manifests have a Secret of that name: then that one counts. What it wants of the gateway comes as [`News`], which the
//! loop of `run` takes one at a time.

use anyhow::Context as _;
use async_trait::async_trait;
use sluice_acme::{
    Challenge, ChallengeError, ChallengeId, Challenges, Engine, FolderStore, Handle, Item, Scope, Settings,
    Store, WantedSet,
};
use sluice_controller::acme;
use sluice_crds::k8s_openapi::ByteString;
use sluice_crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::{Object, ObjectRef, Secret};
use sluice_ir as ir;
use sluice_translate::{Issuance, Translator};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// Versions of what was loaded.
    loaded: BTreeMap<ObjectRef, String>,
    news: mpsc::Sender<News>,
}

struct Running {
    store: Arc<FolderStore>,
    handle: Handle,
    wanted: watch::Sender<Arc<WantedSet>>,
    _stop: DropGuard,
}

impl Certificates {
    /// Nothing runs yet. News come by the receiver.
    pub(super) fn new(folder: PathBuf) -> (Self, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(16);
        (Self { folder, running: None, loaded: BTreeMap::new(), news }, receiver)
    }

    /// Tells the engine what the manifests ask for; starts it when they have an issuer.
    pub(super) fn want(&mut self, translator: &Translator) -> anyhow::Result<()> {
        let issuers = translator.issuers();
        if issuers.is_empty() && self.running.is_none() {
            return Ok(());
        }
        let set = Arc::new(acme::wanted_set(&issuers, &translator.wanted_certificates()));
        match &self.running {
            Some(running) => drop(running.wanted.send_replace(set)),
            None => self.running = Some(self.start(set)?),
        }
        Ok(())
    }

    fn start(&self, set: Arc<WantedSet>) -> anyhow::Result<Running> {
        let named = || format!("the state folder {} can't be used; see --state", self.folder.display());
        let store = Arc::new(FolderStore::open(&self.folder).with_context(named)?);
        let presenter = Arc::new(Presenter { news: self.news.clone(), all: tokio::sync::Mutex::default() });
        let engine = Engine::new(store.clone(), presenter, settings());
        let (handle, stop) = (engine.handle(), CancellationToken::new());
        let (wanted, receiver) = watch::channel(set);
        info!(state = %self.folder.display(), "certificates are ordered and kept here");
        tokio::spawn(engine.run(receiver, stop.clone()));
        tokio::spawn(tell(handle.clone(), self.news.clone(), self.folder.join(REPORT)));
        Ok(Running { store, handle, wanted, _stop: stop.drop_guard() })
    }

    /// What came of orders so far.
    pub(super) fn issuance(&self) -> Issuance {
        let Some(running) = &self.running else { return Issuance::default() };
        let (statuses, issuers) = (running.handle.statuses(), running.handle.issuers());
        acme::issuance(&statuses.borrow(), &issuers.borrow())
    }

    /// Certificates that are in the folder and were not given out before, as Secrets.
    pub(super) async fn secrets(&mut self) -> Vec<Object> {
        let Some(running) = &self.running else { return Vec::new() };
        let wanted = running.wanted.borrow().clone();
        let mut secrets = Vec::new();
        for certificate in &wanted.certificates {
            let reference = acme::secret_of(&certificate.key);
            match running.store.read(&Item::Certificate(certificate.key.clone())).await {
                Ok(Some(entry)) => {
                    let version = entry.version.0.clone();
                    if self.loaded.insert(reference.clone(), version.clone()) != Some(version) {
                        secrets.push(secret(&reference, &entry.data.0));
                    }
                }
                Ok(None) => {}
                Err(error) => warn!(certificate = %certificate.key, %error, "a certificate can't be read"),
            }
        }
        secrets
    }
}

/// The engine's defaults; a test shortens the pauses.
fn settings() -> Settings {
    Settings::new(format!("sluice-run-{}", std::process::id()))
}

/// A certificate of the folder as the Secret that a cluster would have.
fn secret(reference: &ObjectRef, files: &BTreeMap<String, String>) -> Object {
    let bytes = |(name, text): (&String, &String)| (name.clone(), ByteString(text.clone().into_bytes()));
    let label = ("sluice.dev/certificate".to_owned(), "issued".to_owned());
    Object::Secret(Box::new(Secret {
        metadata: ObjectMeta {
            namespace: Some(reference.namespace.to_string()),
            name: Some(reference.name.to_string()),
            labels: Some(BTreeMap::from([label])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(files.iter().map(bytes).collect()),
        ..Secret::default()
    }))
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

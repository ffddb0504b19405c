//! The authority of workloads in use: from the Secrets, kept up to date while they change.

use super::brought::Brought;
use super::domains::Domains;
use super::kept::State;
use super::pem::Certificate;
use super::signer::Signer;
use crate::admin::Metrics;
use crate::ca::{Data, Root, Step, Store};
use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use sluice_xds::svid::Roots;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The Secret with our own authority, and with every root that is still trusted.
pub const SECRET: &str = "sluice-mesh-ca";
/// The Secret with an authority that the user brings.
pub const BROUGHT: &str = "cacerts";
/// The ConfigMap with the mesh's configuration, and its key.
const MESH: (&str, &str) = ("istio", "mesh");

/// How often the Secret is looked at when nothing hints at a change: a next root becomes due.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// What workloads' certificates are made by, at one moment.
#[derive(Debug)]
pub struct Authority {
    pub(super) signer: Arc<Signer>,
    /// Whose names it signs.
    pub domains: Domains,
    /// All roots that are trusted, in PEM.
    pub bundle: String,
    /// The same.
    pub(super) roots: Roots,
}

/// The authority as it is now; `None`: there is none yet, or it can't be used.
pub type Current = watch::Receiver<Option<Arc<Authority>>>;

/// How the authority is kept.
#[derive(Clone, Debug)]
pub struct AuthorityOptions {
    /// The controller's own: where the Secrets are.
    pub namespace: String,
    /// Where the mesh's configuration is.
    pub root_namespace: String,
    /// Trust domains that hold where the mesh's configuration says none.
    pub domains: Domains,
    /// How long a root that a user brings is trusted before it signs, while another one can sign.
    pub root_wait: Duration,
}

/// Keeps the authority.
pub struct Keeper {
    client: Client,
    store: Store,
    options: AuthorityOptions,
    metrics: Arc<Metrics>,
    current: watch::Sender<Option<Arc<Authority>>>,
    known: Known,
    /// What was told last, so that it is told once.
    told: Option<String>,
}

/// What the API server has told; `None`: nothing yet.
#[derive(Default)]
struct Known {
    brought: Option<Option<Data>>,
    mesh: Option<Option<String>>,
}

enum News {
    Brought(Option<Data>),
    Mesh(Option<String>),
    Own,
}

impl Keeper {
    /// Nothing is asked before [`Keeper::run`].
    pub fn new(client: Client, options: AuthorityOptions, metrics: Arc<Metrics>) -> (Self, Current) {
        let (current, seen) = watch::channel(None);
        let store = Store::new(client.clone(), &options.namespace, SECRET);
        (Self { client, store, options, metrics, current, known: Known::default(), told: None }, seen)
    }

    /// Runs until `stop`. What fails is told and tried again; the authority that was in use stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut news = news(&self.client, &self.options);
        let mut pause = LOOK_INTERVAL;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(news) = news.next() => self.known.note(news),
                () = tokio::time::sleep(pause) => {}
            }
            let Known { brought: Some(brought), mesh: Some(mesh) } = &self.known else { continue };
            let (brought, mesh) = (brought.clone(), mesh.clone());
            pause = match self.look(brought.as_ref(), mesh.as_deref(), SystemTime::now()).await {
                Ok(pause) => {
                    self.told = None;
                    pause
                }
                Err(error) => {
                    self.tell(format!("{error:#}"));
                    RETRY
                }
            };
            let authority = self.current.borrow().clone();
            self.metrics.authority(
                authority
                    .as_deref()
                    .map(|it| (seconds(it.signer.not_after()), it.roots.first_end().as_secs())),
            );
        }
    }

    fn tell(&mut self, error: String) {
        if self.told.as_ref() != Some(&error) {
            tracing::error!(
                error,
                "the authority of workloads can't be used as it is; what was in use stays"
            );
            self.told = Some(error);
        }
    }

    /// Brings everything to where it must be; gives the time until something is due.
    async fn look(
        &mut self,
        brought: Option<&Data>,
        mesh: Option<&str>,
        now: SystemTime,
    ) -> Result<Duration> {
        let before = self.current.borrow().clone();
        let known = before.as_ref().map(|it| &it.domains);
        let (domains, trouble) = Domains::read(mesh, &self.options.domains, known);
        if let Some(error) = trouble {
            tracing::warn!(error, "trust domains of ConfigMap {}/{}", self.options.root_namespace, MESH.0);
        }
        let named = || format!("Secret {}/{BROUGHT} is not used", self.options.namespace);
        let brought = brought.map(|data| Brought::read(data, now)).transpose().with_context(named)?;
        let roots = brought.as_ref().map(|it| it.roots.as_slice());
        let next = |data: Option<&Data>| {
            let state = data.map(State::from_data).transpose();
            let state = state
                .context("it holds no usable authority; delete it to have a new one made")?
                .unwrap_or_default();
            let next = state.advanced(roots, now)?;
            Ok(next.map_or_else(|| Step::Settled(state), |next| Step::Write(next.to_data())))
        };
        let state = self.store.settle(next).await?;
        let choice = Choice { state: &state, before: before.as_ref(), wait: self.options.root_wait, now };
        let (signer, pause) = choice.signer(brought.as_ref())?;
        let bundle = state.bundle(roots);
        let parsed = Roots::from_pem(bundle.as_bytes())?;
        let authority = Authority { signer, domains, bundle, roots: parsed };
        self.current.send_if_modified(|current| {
            let is_other = current.as_ref().is_none_or(|it| !it.is_same(&authority));
            if is_other {
                tracing::info!(
                    root = authority.signer.root(),
                    trust_domain = authority.domains.own,
                    roots = authority.roots.certificates().count(),
                    "the authority of workloads"
                );
                *current = Some(Arc::new(authority));
            }
            is_other
        });
        Ok(pause.unwrap_or(LOOK_INTERVAL))
    }
}

impl Authority {
    fn is_same(&self, other: &Self) -> bool {
        let signers = [&self.signer, &other.signer];
        let [ours, theirs] = signers.map(|it| (it.root(), it.chain(), it.not_after()));
        ours == theirs
            && self.signer.key() == other.signer.key()
            && self.domains == other.domains
            && self.bundle == other.bundle
    }
}

/// Which of those that could sign does.
struct Choice<'a> {
    state: &'a State,
    before: Option<&'a Arc<Authority>>,
    wait: Duration,
    now: SystemTime,
}

impl Choice<'_> {
    /// The user's, else ours; but while its root is not known everywhere, who signed before. With the time until that may
    /// change.
    fn signer(&self, brought: Option<&Brought>) -> Result<(Arc<Signer>, Option<Duration>)> {
        let own = self.own()?;
        let wanted = match (brought, &own) {
            (Some(brought), _) => brought.signer.clone(),
            (None, Some(own)) => own.clone(),
            (None, None) => anyhow::bail!("there is no authority"),
        };
        if self.before.is_some_and(|it| it.signer.root() == wanted.root()) {
            return Ok((wanted, None));
        }
        let due = self.state.since(wanted.root()).map(|since| since + self.wait);
        let left = due.and_then(|due| due.duration_since(self.now).ok()).unwrap_or_default();
        let is_usable = |it: &Arc<Signer>| it.root() != wanted.root() && it.not_after() > self.now + left;
        let before = self.before.map(|it| it.signer.clone()).filter(is_usable);
        match before.or(own.filter(is_usable)) {
            Some(before) if !left.is_zero() => Ok((before, Some(left))),
            Some(_) | None => Ok((wanted, None)),
        }
    }

    fn own(&self) -> Result<Option<Arc<Signer>>> {
        let Some(kept) = &self.state.own else { return Ok(None) };
        let root: &Root = &kept.current;
        let certificate = Certificate::all(root.certificate.as_bytes())?;
        let certificate = certificate.first().context("the own authority has no certificate")?;
        Ok(Some(Arc::new(Signer::new(root, Vec::new(), certificate, root.not_after)?)))
    }
}

impl Known {
    fn note(&mut self, news: News) {
        match news {
            News::Brought(data) => self.brought = Some(data),
            News::Mesh(text) => self.mesh = Some(text),
            News::Own => {}
        }
    }
}

/// Changes of the three objects, without end; the present state of each first. Breaks are mended underneath.
fn news(client: &Client, options: &AuthorityOptions) -> BoxStream<'static, News> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &options.namespace);
    let configs: Api<ConfigMap> = Api::namespaced(client.clone(), &options.root_namespace);
    let data = |secret: Option<Secret>| News::Brought(secret.map(|it| it.data.unwrap_or_default()));
    let text = |config: Option<ConfigMap>| News::Mesh(config.and_then(|it| it.data?.remove(MESH.1)));
    let all = [
        watch_object(secrets.clone(), BROUGHT).default_backoff().filter_map(seen(BROUGHT, data)).boxed(),
        watch_object(secrets, SECRET).default_backoff().filter_map(seen(SECRET, |_| News::Own)).boxed(),
        watch_object(configs, MESH.0).default_backoff().filter_map(seen(MESH.0, text)).boxed(),
    ];
    futures::stream::select_all(all).boxed()
}

fn seen<K>(
    name: &'static str,
    read: impl Fn(Option<K>) -> News + Send + 'static,
) -> impl FnMut(Result<Option<K>, kube::runtime::watcher::Error>) -> std::future::Ready<Option<News>> {
    move |event| {
        let news = event.inspect_err(|error| tracing::warn!(name, %error, "a watch failed; trying again"));
        std::future::ready(news.ok().map(&read))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

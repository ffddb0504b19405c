//! The task that keeps a proxy in step with its controller.

use super::ask::{Asker, Link};
use super::backoff::Backoff;
use super::disk::{Disk, Restored, asked};
use super::files::{read, token};
use super::held::{Batch, Held};
use super::on_demand::OnDemand;
use super::save::{self, Waiting};
use crate::Proxy;
use anyhow::{Context as _, Result};
use http::Uri;
use serde::Serialize;
use sluice_ir::{self as ir, ResourceKey, ResourceKind};
use sluice_xds::connect::Connection;
use sluice_xds::{
    DESTINATION, DeltaDiscoveryRequest, DeltaDiscoveryResponse, ErrorDetail, HOST, Node, Struct, Value,
    client, type_url,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// Bytes of one response. One resource may be larger than the server's usual response, but never than this.
const RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// Time until the controller answers a new stream's head.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// How often ports that could not be bound are tried again, and the token is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Time for the stream's end to reach the controller.
const GOODBYE_TIME: Duration = Duration::from_millis(500);
/// Begins the scope of a sidecar.
const WORKLOADS: &str = "Workloads/";
/// `google.rpc.Code.INVALID_ARGUMENT`
const INVALID_ARGUMENT: i32 = 3;

/// Whom to ask for what.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// `https://HOST:PORT`.
    pub controller: Uri,
    /// The name in the controller's certificate; `None`: the host of its address.
    pub server_name: Option<String>,
    /// Whose configuration: a Gateway's, or that of the workloads of a namespace (`Workloads/NAMESPACE`).
    pub gateway: ir::GatewayKey,
    /// Name of this data plane: its pod's.
    pub node: String,
    /// Holds the token that says who this data plane is.
    pub token_file: PathBuf,
    /// Holds the certificates of the authorities that may vouch for the controller (PEM).
    pub ca_file: PathBuf,
    /// The Kubernetes node that this data plane runs on, by which the controller knows its place; `None`: not known, or
    /// of no interest because the place is told here.
    pub host: Option<String>,
    /// Where the last good configuration rests; `None`: nowhere.
    pub snapshot_dir: Option<PathBuf>,
}

/// How this data plane stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SyncState {
    /// A whole configuration with this data plane's Gateway, or with what governs its workload, is served, from the controller or from the disk.
    pub configured: bool,
    /// The controller is connected and its first batch has been applied.
    pub connected: bool,
    /// Batches of the controller that were applied.
    pub batches: u64,
    /// Resources that are refused.
    pub refused: usize,
    /// Why there is no connection.
    pub trouble: Option<String>,
}

/// Keeps a proxy in step with its controller.
pub struct SyncClient {
    proxy: Arc<Proxy>,
    options: SyncOptions,
    held: Held,
    state: watch::Sender<SyncState>,
    waiting: Arc<Waiting>,
    /// The connection while it is there: for names of handshakes.
    link: watch::Sender<Option<Link>>,
    on_demand: OnDemand,
}

/// How a stream ended, other than by an error.
enum End {
    /// This process ends.
    Stopped,
    /// There is a new token: the next stream is to use it.
    NewToken,
}

impl SyncClient {
    /// Applies the last good configuration of the disk, if there is one, before it returns.
    pub async fn start(proxy: Arc<Proxy>, options: SyncOptions) -> Self {
        let state = watch::Sender::new(SyncState::default());
        let link = watch::Sender::new(None);
        proxy.obtain_by(Arc::new(Asker(link.subscribe())));
        let (held, waiting, on_demand) = (Held::default(), Arc::default(), OnDemand::default());
        let mut this = Self { proxy, options, held, state, waiting, link, on_demand };
        if let Err(error) = this.restore().await {
            let error = format!("{error:#}");
            tracing::warn!(error, "the last configuration can't be used; the controller's is waited for");
        }
        this
    }

    /// How this data plane stands, now and later.
    pub fn state(&self) -> watch::Receiver<SyncState> {
        self.state.subscribe()
    }

    /// Destinations that are asked for when somebody calls them.
    pub fn on_demand(&self) -> OnDemand {
        self.on_demand.clone()
    }

    /// Runs until `stop`. Whatever happens to the controller, what was applied stays in use.
    pub async fn run(mut self, stop: CancellationToken) {
        let writer = self.disk().map(|disk| {
            let (proxy, waiting) = (self.proxy.clone(), self.waiting.clone());
            tokio::spawn(save::run(disk, proxy, waiting, stop.clone()))
        });
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let before = self.state.borrow().batches;
            let ended = self.stream(&stop).await;
            self.link.send_replace(None);
            self.on_demand.away();
            if self.state.borrow().batches > before {
                backoff.reset();
            }
            match ended {
                Ok(End::Stopped) => break,
                Ok(End::NewToken) => continue,
                Err(error) => {
                    let (trouble, pause) = (format!("{error:#}"), backoff.next());
                    tracing::warn!(
                        reason = trouble,
                        ?pause,
                        "no connection to the controller; what is served stays"
                    );
                    self.state.send_modify(|state| {
                        state.connected = false;
                        state.trouble = Some(trouble);
                    });
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        if let Some(writer) = writer {
            let _ = writer.await;
        }
    }

    fn disk(&self) -> Option<Disk> {
        self.options.snapshot_dir.as_deref().map(|directory| Disk::new(directory, &self.options.gateway))
    }

    async fn restore(&mut self) -> Result<()> {
        let Some(disk) = self.disk() else { return Ok(()) };
        let Some(Restored { delta, versions }) = tokio::task::spawn_blocking(move || disk.load()).await??
        else {
            return Ok(());
        };
        self.held = Held::restored(versions);
        let resources = delta.upserts.len();
        self.apply(&delta).await;
        if let (Some(folder), true) = (self.options.snapshot_dir.clone(), self.is_sidecar()) {
            let of = self.options.gateway.clone();
            let known = tokio::task::spawn_blocking(move || asked::load(&folder, &of)).await?;
            let is_there = |scope: &ir::GatewayKey| self.held.has(&ResourceKey::Gateway(scope.clone()));
            self.on_demand.restore(known.into_iter().filter(|(_, scope)| is_there(scope)));
        }
        tracing::info!(resources, "the last configuration of the disk is served");
        Ok(())
    }

    async fn apply(&mut self, delta: &ir::Delta) {
        let failures = self.proxy.apply(delta).await;
        self.held.set_unserved(failures);
        let configured = self.held.has(&match self.options.gateway.as_str().strip_prefix(WORKLOADS) {
            Some(namespace) => ResourceKey::Workloads(ir::WorkloadsKey::new(namespace)),
            None => ResourceKey::Gateway(self.options.gateway.clone()),
        });
        let refused = self.held.refused();
        self.state.send_modify(|state| {
            state.configured = configured;
            state.refused = refused;
        });
    }

    /// One stream, from its connection to its end.
    async fn stream(&mut self, stop: &CancellationToken) -> Result<End> {
        let options = self.options.clone();
        let opening = async {
            let token = token(&options.token_file).await?;
            let authorities = read(&options.ca_file).await?;
            let name = options.server_name.as_deref();
            let connection = Connection::open(&options.controller, name, &authorities).await?;
            let (requests, stream) = mpsc::unbounded_channel();
            for request in self.subscriptions() {
                requests.send(request)?;
            }
            let responses = client::delta(
                connection.service(),
                &token,
                UnboundedReceiverStream::new(stream),
                RESPONSE_BYTES,
            );
            let responses = tokio::time::timeout(ANSWER_TIME, responses).await;
            let responses = responses.context("the controller does not answer")?.map_err(refused)?;
            anyhow::Ok((token, connection, requests, responses))
        };
        let (token, connection, requests, mut responses) = tokio::select! {
            () = stop.cancelled() => return Ok(End::Stopped),
            opened = opening => opened?,
        };
        self.link.send_replace(Some(Link { service: connection.service(), token: token.clone() }));
        let mut batch = Batch::default();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.reset();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    let leave = DeltaDiscoveryRequest {
                        type_url: type_url(ResourceKind::Gateway),
                        resource_names_unsubscribe: vec!["*".to_owned()],
                        ..DeltaDiscoveryRequest::default()
                    };
                    // The controller need not wait for this data plane to come again.
                    let _ = requests.send(leave);
                    drop(requests);
                    let _ = tokio::time::timeout(GOODBYE_TIME, drained(&mut responses)).await;
                    return Ok(End::Stopped);
                }
                response = responses.message() => {
                    let response = response.map_err(refused)?.context("the controller has ended the stream")?;
                    self.learn_place(&response);
                    if self.held.collect(&mut batch, response) {
                        self.take(std::mem::take(&mut batch), &requests).await?;
                    }
                }
                (asked, left) = self.on_demand.due(), if self.is_sidecar() => {
                    requests.send(DeltaDiscoveryRequest {
                        type_url: DESTINATION.to_owned(),
                        resource_names_subscribe: asked,
                        resource_names_unsubscribe: left,
                        ..DeltaDiscoveryRequest::default()
                    })?;
                }
                _ = look.tick() => {
                    if self.token_changed(&token).await {
                        return Ok(End::NewToken);
                    }
                    self.bind_again(&requests).await?;
                }
            }
        }
    }

    /// Takes the controller's word on where this data plane runs. One that knows nothing takes nothing back.
    fn learn_place(&self, response: &DeltaDiscoveryResponse) {
        let told = response.control_plane.as_ref().map(|it| it.data_plane_locality.as_str());
        let Some(told) = told.filter(|it| self.options.host.is_some() && !it.is_empty()) else { return };
        match told.parse::<ir::Locality>() {
            Ok(place) if self.proxy.locality().as_deref() != Some(&place) => {
                tracing::info!(%place, "the controller says where this data plane runs");
                self.proxy.set_locality(Some(place));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the controller's word on the place of this data plane"),
        }
    }

    /// The first requests: one for each kind, with what is here already.
    fn subscriptions(&self) -> Vec<DeltaDiscoveryRequest> {
        let kinds = ResourceKind::ALL.map(|kind| DeltaDiscoveryRequest {
            type_url: type_url(kind),
            resource_names_subscribe: vec!["*".to_owned()],
            initial_resource_versions: self.held.versions(kind),
            ..DeltaDiscoveryRequest::default()
        });
        let mut requests = Vec::from(kinds);
        let mut features = Vec::from(ResourceKind::ALL.map(type_url));
        if self.is_sidecar() {
            features.push(DESTINATION.to_owned());
            requests.push(DeltaDiscoveryRequest {
                type_url: DESTINATION.to_owned(),
                resource_names_subscribe: self.on_demand.begin(),
                ..DeltaDiscoveryRequest::default()
            });
        }
        if let Some(first) = requests.first_mut() {
            first.node = Some(Node {
                id: self.options.node.clone(),
                cluster: self.options.gateway.to_string(),
                metadata: self.options.host.as_ref().map(|host| Struct {
                    fields: [(HOST.to_owned(), Value { string_value: Some(host.clone()) })].into(),
                }),
                user_agent_name: if self.is_sidecar() { "sluice-sidecar" } else { "sluice-gateway" }
                    .to_owned(),
                user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                client_features: features,
            });
        }
        requests
    }

    /// Applies a whole batch and answers each of its responses, the last with everything that is refused.
    async fn take(&mut self, batch: Batch, to: &mpsc::UnboundedSender<DeltaDiscoveryRequest>) -> Result<()> {
        let started = Instant::now();
        let responses = batch.responses.clone();
        let answers = batch.answers.clone();
        let delta = self.held.accept(batch);
        let (upserts, removals) = (delta.upserts.len(), delta.removals.len());
        self.apply(&delta).await;
        tracing::debug!(upserts, removals, took = ?started.elapsed(), "a batch of the controller is applied");
        self.state.send_modify(|state| {
            state.connected = true;
            state.batches += 1;
            state.trouble = None;
        });
        if self.options.snapshot_dir.is_some() {
            self.waiting.note(&delta);
        }
        let is_answer = !answers.is_empty();
        // Whoever waits for an answer finds what belongs to it.
        self.on_demand.answered(answers);
        if is_answer {
            self.keep_names().await;
        }
        let last = responses.len().saturating_sub(1);
        for (position, (type_url, response_nonce)) in responses.into_iter().enumerate() {
            let error_detail = if position == last { self.error_detail() } else { None };
            to.send(DeltaDiscoveryRequest {
                type_url,
                response_nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })?;
        }
        Ok(())
    }

    /// Whether destinations are asked for.
    fn is_sidecar(&self) -> bool {
        self.options.gateway.as_str().starts_with(WORKLOADS)
    }

    /// Writes which destinations are known to the disk.
    async fn keep_names(&self) {
        let Some(folder) = self.options.snapshot_dir.clone() else { return };
        let (of, all) = (self.options.gateway.clone(), self.on_demand.all());
        let saved = tokio::task::spawn_blocking(move || asked::save(&folder, &of, &all)).await;
        if let Ok(Err(error)) = saved {
            let error = format!("{error:#}");
            tracing::warn!(error, "the names of destinations can't be written to the disk");
        }
    }

    /// Everything that is refused; `None`: nothing.
    fn error_detail(&self) -> Option<ErrorDetail> {
        let refusals = self.held.refusals();
        let first = refusals.first()?;
        Some(ErrorDetail {
            code: INVALID_ARGUMENT,
            message: format!(
                "{} resources are refused, the first is {}: {}",
                refusals.len(),
                first.name,
                first.message
            ),
            details: refusals.iter().map(sluice_xds::Refusal::to_any).collect(),
        })
    }

    /// Tries ports again that could not be bound, and tells the controller when that changed something.
    async fn bind_again(&mut self, to: &mpsc::UnboundedSender<DeltaDiscoveryRequest>) -> Result<()> {
        if !self.held.has_unserved() {
            return Ok(());
        }
        let failures = self.proxy.apply(&ir::Delta::default()).await;
        if self.held.set_unserved(failures) {
            let refused = self.held.refused();
            self.state.send_modify(|state| state.refused = refused);
            let nothing = ErrorDetail::default();
            to.send(DeltaDiscoveryRequest {
                type_url: type_url(ResourceKind::Listener),
                error_detail: Some(self.error_detail().unwrap_or(nothing)),
                ..DeltaDiscoveryRequest::default()
            })?;
        }
        Ok(())
    }

    async fn token_changed(&self, current: &str) -> bool {
        token(&self.options.token_file).await.is_ok_and(|now| now != current)
    }
}

/// What the controller answered, in words.
fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", status.code(), status.message())
}

/// Reads until the stream ends.
async fn drained(responses: &mut Streaming<DeltaDiscoveryResponse>) {
    while let Ok(Some(_)) = responses.message().await {}
}

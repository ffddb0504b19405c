//! Watches the other replicas of the controller: where they are, by the EndpointSlices of its Service, and what they
//! tell.

use super::sync::Told;
use super::{Distributor, Others, distributor::LINGER_TIME, limits};
use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::Uri;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice_xds::connect::Connection;
use sluice_xds::peers::{State, WatchRequest, watch};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch as channel;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Label that names the Service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Pause after a replica could not be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the other replicas are, and how to be one of them.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Namespace of the controller.
    pub namespace: String,
    /// The controller's Service.
    pub service: String,
    /// Port of [`serve`](super::serve).
    pub port: u16,
    /// Name of this replica, its pod's.
    pub replica: String,
    /// A DNS name in the serving certificates of all replicas.
    pub server_name: String,
    /// Holds the token of this replica, made for the audience [`AUDIENCE`](super::AUDIENCE).
    pub token_file: PathBuf,
    /// What vouches for the other replicas, as PEM.
    pub authorities: channel::Receiver<String>,
    /// Where the connections to them are noted.
    pub others: Others,
}

/// Keeps the distributor informed until `stop`.
pub async fn watch_peers(
    client: Client,
    distributor: Distributor,
    options: PeerOptions,
    stop: CancellationToken,
) {
    let slices: Api<EndpointSlice> = Api::namespaced(client, &options.namespace);
    let config = watcher::Config::default().labels(&format!("{SERVICE_LABEL}={}", options.service));
    let mut events = pin!(watcher::watcher(slices, config).default_backoff());
    let mut known: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let mut watched: BTreeMap<IpAddr, DropGuard> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Err(error)) => tracing::debug!(%error, "the other replicas can't be looked up"),
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(slice))) => note(&mut listed, &slice, &options.replica),
            Some(Ok(Event::InitDone)) => known = std::mem::take(&mut listed),
            Some(Ok(Event::Apply(slice))) => note(&mut known, &slice, &options.replica),
            Some(Ok(Event::Delete(slice))) => {
                known.remove(&slice.metadata.name.unwrap_or_default());
            }
        }
        let wanted: BTreeSet<_> = known.values().flatten().copied().collect();
        watched.retain(|address, _| wanted.contains(address));
        for address in wanted {
            watched.entry(address).or_insert_with(|| {
                let stop = stop.child_token();
                let address = SocketAddr::new(address, options.port);
                tokio::spawn(follow(address, distributor.clone(), options.clone(), stop.clone()));
                stop.drop_guard()
            });
        }
    }
}

/// Addresses of the other replicas of a slice, ready or not: one that is ending still has data planes.
fn note(known: &mut BTreeMap<String, BTreeSet<IpAddr>>, slice: &EndpointSlice, own: &str) {
    let endpoints = slice.endpoints.iter();
    let others = endpoints.filter(|it| it.target_ref.as_ref().and_then(|it| it.name.as_deref()) != Some(own));
    let addresses = others.flat_map(|it| &it.addresses).filter_map(|it| it.parse().ok()).collect();
    known.insert(slice.metadata.name.clone().unwrap_or_default(), addresses);
}

/// Keeps the distributor informed of what the replica at this address tells, until `stop`.
pub async fn follow(
    address: SocketAddr,
    distributor: Distributor,
    options: PeerOptions,
    stop: CancellationToken,
) {
    Peer { address, distributor, options }.run(stop).await;
}

/// One other replica.
struct Peer {
    address: SocketAddr,
    distributor: Distributor,
    options: PeerOptions,
}

impl Peer {
    async fn run(self, stop: CancellationToken) {
        let name = self.address.to_string();
        while !stop.is_cancelled() {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = self.watch(&name) => ended,
            };
            self.options.others.set(&name, None);
            if let Err(error) = ended {
                tracing::debug!(
                    replica = name,
                    error = format!("{error:#}"),
                    "another replica does not answer"
                );
            }
            // Its data planes go elsewhere now: for a moment they count as they were.
            tokio::select! {
                () = stop.cancelled() => break,
                again = async {
                    tokio::time::sleep(PAUSE).await;
                    tokio::time::timeout(LINGER_TIME, self.open()).await
                } => if !matches!(again, Ok(Ok(_))) {
                    self.distributor.set_peer(&name, None);
                },
            }
        }
        self.options.others.set(&name, None);
        self.distributor.set_peer(&name, None);
    }

    async fn open(&self) -> Result<Connection> {
        let address: Uri = format!("https://{}", self.address).parse()?;
        let authorities = self.options.authorities.borrow().clone();
        let name = Some(self.options.server_name.as_str());
        Ok(Connection::open(&address, name, authorities.as_bytes()).await?)
    }

    async fn watch(&self, name: &str) -> Result<()> {
        let token = tokio::fs::read_to_string(&self.options.token_file).await;
        let token = token.with_context(|| self.options.token_file.display().to_string())?;
        let connection = self.open().await?;
        let request = WatchRequest { replica: self.options.replica.clone() };
        let mut states = watch(connection.service(), token.trim(), request, limits::PEER_BYTES).await?;
        self.options.others.set(name, Some(connection.service()));
        while let Some(State { proxies, .. }) = states.message().await? {
            let told: Vec<Told> = serde_json::from_slice(&proxies).context("what another replica tells")?;
            self.distributor.set_peer(name, Some(told));
        }
        Ok(())
    }
}

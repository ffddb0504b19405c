//! A gateway process: proxy and admin server.

use anyhow::{Context as _, Result};
use sluice_ir as ir;
use sluice_proxy::admin::{self, AdminState, Page, Readiness};
use sluice_proxy::identity::Identity;
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::telemetry::trace::TraceOptions;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use std::borrow::Borrow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a first configuration waits for the addresses of named backends before the gateway calls itself ready.
const FIRST_RESOLUTION: Duration = Duration::from_secs(2);

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Address of listeners whose Gateway names none.
    pub bind: IpAddr,
    /// Added to each listener's port, so that 80 and 443 need no root.
    pub port_offset: u16,
    /// Binds the ports that the Service of a Gateway in a cluster points at: see [`ir::cluster_port`].
    pub cluster_ports: bool,
    /// Where the admin server listens; `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Where this process runs; `None`: not known, or a controller tells it.
    pub locality: Option<ir::Locality>,
    /// Who it is in a mesh; `None`: nobody.
    pub identity: Option<watch::Receiver<Option<Arc<Identity>>>>,
}

impl Default for GatewayOptions {
    /// Loopback, no offset, no admin server.
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_offset: 0,
            cluster_ports: false,
            admin: None,
            locality: None,
            identity: None,
        }
    }
}

/// A running gateway.
pub struct Gateway {
    proxy: Arc<Proxy>,
    readiness: Readiness,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
}

impl Gateway {
    /// Starts the admin server and a proxy without configuration. Fails only when the admin address or a socket on
    /// loopback can't be had.
    pub async fn start(options: GatewayOptions) -> Result<Self> {
        Self::start_with(options, Vec::new()).await
    }

    /// The same with further pages of the admin server.
    pub async fn start_with(options: GatewayOptions, pages: Vec<(String, Page)>) -> Result<Self> {
        let GatewayOptions { bind, port_offset, cluster_ports, .. } = options;
        let plan = BindPlan { bind, port_offset, cluster_ports, is_captured: false };
        let proxy = Proxy::new(ProxyOptions {
            plan,
            log: AccessLogger::stdout(),
            resolver: Resolver::system(),
            identity: options.identity.clone(),
            mesh: None,
        })?;
        proxy.set_locality(options.locality.clone());
        proxy.trace_to(TraceOptions::from_env());
        let readiness = Readiness::new("no configuration yet");
        let stop = CancellationToken::new();
        let identity = options.identity.map(|it| -> (String, Page) {
            ("/debug/identity".to_owned(), Box::new(move || json(it.borrow().as_deref())))
        });
        let pages = pages.into_iter().chain(identity).collect();
        let admin = match options.admin {
            Some(address) => Some(serve_admin(address, &proxy, &readiness, pages, &stop).await?),
            None => None,
        };
        Ok(Self { proxy, readiness, admin, stop })
    }

    /// Applies a delta and returns the listeners that can't be served. The first call makes the gateway ready.
    pub async fn apply(&self, delta: impl Borrow<ir::Delta> + Send) -> Vec<(ir::ListenerKey, String)> {
        let failures = self.proxy.apply(delta.borrow()).await;
        self.set_configured().await;
        failures
    }

    /// The proxy serves a whole configuration: ready as soon as the names of its backends were resolved once.
    pub async fn set_configured(&self) {
        if !self.readiness.is_ready() {
            self.proxy.wait_resolved(FIRST_RESOLUTION).await;
            self.readiness.set_ready();
        }
    }

    /// No more traffic, please; what comes is served. Probes see the reason.
    pub fn set_not_ready(&self, reason: &'static str) {
        self.readiness.set_not_ready(reason);
    }

    /// Addresses that are bound: as planned, and as the system gave them.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.proxy.bound()
    }

    /// Where the admin server listens.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The proxy.
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Readiness off, then the proxy drains; the admin server ends last. Returns how many connections were cut.
    pub async fn drain(self, deadline: Duration) -> usize {
        self.readiness.set_not_ready("draining");
        let cut = self.proxy.drain(deadline).await;
        self.stop.cancel();
        cut
    }
}

async fn serve_admin(
    address: SocketAddr,
    proxy: &Arc<Proxy>,
    readiness: &Readiness,
    further: Vec<(String, Page)>,
    stop: &CancellationToken,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("admin server: {address} can't be bound; choose another with --admin"))?;
    let local = listener.local_addr().context("admin server: address")?;
    let state = Arc::new(AdminState {
        readiness: readiness.clone(),
        metrics: proxy.metrics().clone(),
        pages: pages(proxy).into_iter().chain(further).collect(),
    });
    tokio::spawn(admin::serve(listener, state, stop.clone()));
    Ok(local)
}

/// What `/debug` shows. Secrets are fingerprints there.
fn pages(proxy: &Arc<Proxy>) -> Vec<(String, Page)> {
    let (for_snapshot, for_endpoints) = (Arc::downgrade(proxy), Arc::downgrade(proxy));
    vec![
        (
            "/debug/snapshot".to_owned(),
            Box::new(move || json(for_snapshot.upgrade().map(|proxy| proxy.snapshot()))),
        ),
        (
            "/debug/endpoints".to_owned(),
            Box::new(move || json(for_endpoints.upgrade().map(|proxy| proxy.endpoints()))),
        ),
    ]
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string_pretty(&value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

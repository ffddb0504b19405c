//! A controller without a cluster: its distributor and its port, with an authority of its own.

use async_trait::async_trait;
use rustls::crypto::aws_lc_rs;
use sluice_controller::ca::{Root, ServingCertificate};
use sluice_controller::serve::{
    Authenticator, Denied, Distributor, Names, PeerIdentity, ProxyIdentity, ServeOptions, serve,
};
use sluice_ir as ir;
use sluice_proxy::sync::SyncOptions;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A DNS name in its certificate.
pub(crate) const NAME: &str = "sluice-controller.sluice-system.svc";

/// Files that every data plane has: authority and token.
pub(crate) struct Trust {
    pub(crate) root: Root,
    folder: TempDir,
}

impl Trust {
    pub(crate) fn new() -> Self {
        let _ = aws_lc_rs::default_provider().install_default();
        let root = Root::generate(SystemTime::now()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), root.certificate()).unwrap();
        Self { root, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Options of a data plane of this Gateway, with the right token.
    pub(crate) fn options(&self, address: SocketAddr, gateway: &str) -> SyncOptions {
        let (namespace, name) = gateway.split_once('/').unwrap();
        let token_file = self.folder().join(format!("{namespace}-{name}"));
        std::fs::write(&token_file, format!("{namespace}/{name}-sluice\n")).unwrap();
        SyncOptions {
            controller: format!("https://{address}").parse().unwrap(),
            server_name: Some(NAME.to_owned()),
            gateway: ir::GatewayKey::new(gateway),
            node: format!("{name}-0"),
            host: None,
            token_file,
            ca_file: self.folder().join("ca.crt"),
            snapshot_dir: None,
        }
    }
}

/// A running controller; its port closes when it is dropped.
pub(crate) struct Controller {
    pub(crate) distributor: Distributor,
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

impl Controller {
    /// With this configuration, complete.
    pub(crate) async fn start(trust: &Trust, snapshot: &ir::Snapshot) -> Self {
        let controller = Self::at(trust, "127.0.0.1:0".parse().unwrap()).await;
        controller.publish(&ir::Snapshot::default(), snapshot);
        controller.distributor.set_complete();
        controller
    }

    /// With nothing, and not complete.
    pub(crate) async fn at(trust: &Trust, address: SocketAddr) -> Self {
        Self::with(trust, ServeOptions::new(address, "controller-0")).await
    }

    /// One of several replicas, complete with this configuration.
    pub(crate) async fn replica(trust: &Trust, name: &str, snapshot: &ir::Snapshot) -> Self {
        Self::complete(trust, Self::options(name), snapshot).await
    }

    /// The same, which answers names of handshakes too.
    pub(crate) async fn with_names(trust: &Trust, name: &str, snapshot: &ir::Snapshot, names: Names) -> Self {
        let mut options = Self::options(name);
        options.names = Some(names);
        options.token_file = trust.folder().join("replica");
        Self::complete(trust, options, snapshot).await
    }

    fn options(name: &str) -> ServeOptions {
        let mut options = ServeOptions::new("127.0.0.1:0".parse().unwrap(), name);
        options.peers = Some(PeerIdentity {
            namespace: "sluice-system".to_owned(),
            service_account: "sluice-controller".to_owned(),
        });
        options
    }

    async fn complete(trust: &Trust, options: ServeOptions, snapshot: &ir::Snapshot) -> Self {
        let controller = Self::with(trust, options).await;
        controller.publish(&ir::Snapshot::default(), snapshot);
        controller.distributor.set_complete();
        controller
    }

    async fn with(trust: &Trust, options: ServeOptions) -> Self {
        let names = vec![NAME.to_owned()];
        let tls = Arc::new(ServingCertificate::new(&trust.root, names, SystemTime::now()).unwrap());
        let (distributor, stop) = (Distributor::new(), CancellationToken::new());
        let served = serve(distributor.clone(), options, Arc::new(Tokens), tls, stop.clone());
        let address = served.await.expect("a port");
        Self { distributor, address, _stop: stop.drop_guard() }
    }

    /// Turns what is published into this.
    pub(crate) fn publish(&self, before: &ir::Snapshot, now: &ir::Snapshot) {
        for key in now.gateways.keys() {
            let name = key.as_str().split_once('/').unwrap().1;
            self.distributor.set_account(key, Some(format!("{name}-sluice")));
        }
        self.distributor.publish(&before.delta_to(now));
    }
}

/// `NAMESPACE/SERVICEACCOUNT` or `NAMESPACE/SERVICEACCOUNT/POD`.
struct Tokens;

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Result<ProxyIdentity, Denied> {
        let mut parts = token.split('/').map(str::to_owned);
        match (parts.next(), parts.next()) {
            (Some(namespace), Some(service_account)) => {
                Ok(ProxyIdentity { namespace, service_account, pod: parts.next(), expires: None })
            }
            _ => Err(Denied::Invalid("no such token".to_owned())),
        }
    }
}

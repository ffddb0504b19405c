//! The mesh's TLS to the endpoints of a backend: which of them, and a client for each identity behind them.
//!
//! A client belongs to an own identity and to the identity that its endpoints must have; so do its connections and
//! nobody else's are ever used. After a rotation the next try makes a new client, and the old one goes with the last
//! request that holds it.

use super::own::{Own, OwnState};
use crate::upstream::TlsClient;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use sluice_ir::{Backend, BackendKey, BackendProtocol, MeshTls, SpiffeId, Workload};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Identities behind one backend that clients are kept for; endpoints of a Service mostly have one.
const CLIENTS: usize = 64;

/// Why an endpoint is not spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not take the mesh's TLS, which is asked for: perhaps another one does.
    #[error("the endpoint does not take the mesh's TLS, which is asked for")]
    Endpoint,
    /// This data plane has no identity yet.
    #[error("this data plane has no certificate of the mesh yet")]
    NoIdentity,
    /// The identities can't be used as they are.
    #[error("the identity of this data plane or of the endpoint can't be used")]
    Client,
}

/// Speaks the mesh's TLS to the endpoints of a backend.
#[derive(Debug)]
pub struct MeshPeers {
    own: Arc<Own>,
    backend: BackendKey,
    protocol: BackendProtocol,
    terms: MeshTls,
    server_name: ServerName<'static>,
    clients: ArcSwap<Vec<Kept>>,
    /// Held by who adds one.
    adding: Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    own: Arc<OwnState>,
    namespace: Box<str>,
    account: Box<str>,
    client: Result<Arc<TlsClient>, Unfit>,
}

impl Kept {
    fn is_for(&self, own: &Arc<OwnState>, workload: &Workload) -> bool {
        Arc::ptr_eq(&self.own, own)
            && *self.account == *workload.service_account
            && *self.namespace == *workload.namespace
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("account", &self.account).finish_non_exhaustive()
    }
}

impl MeshPeers {
    /// `None` for a backend that is never spoken to so. What did not change since `before` is shared with it, with its
    /// connections.
    pub(crate) fn of(own: &Arc<Own>, backend: &Backend, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let (MeshTls::Auto(server_name) | MeshTls::Required(server_name)) = &backend.mesh else {
            return None;
        };
        let is_same = |it: &&Arc<Self>| it.terms == backend.mesh && it.protocol == backend.protocol;
        if let Some(before) = before.filter(is_same) {
            return Some(before.clone());
        }
        // The name tells peers nothing that they verify. One that is no DNS name (of a wildcard) is not sent.
        let server_name = ServerName::try_from(server_name.to_string())
            .unwrap_or_else(|_| ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        Some(Arc::new(Self {
            own: own.clone(),
            backend: backend.key.clone(),
            protocol: backend.protocol,
            terms: backend.mesh.clone(),
            server_name,
            clients: ArcSwap::default(),
            adding: Mutex::default(),
        }))
    }

    /// Waits for an own identity; costs one load when there is one. Bounds no time: the caller does. Cancel safe.
    pub(crate) async fn wait(&self) {
        if self.own.get().is_none() {
            self.own.wait().await;
        }
    }

    /// Who speaks TLS to the endpoint of this workload; `Ok(None)`: it is spoken to as if there were no mesh. Whoever uses
    /// a connection of the client holds it meanwhile. Costs two loads.
    ///
    /// # Errors
    /// Why it is not spoken to: an endpoint that takes the mesh's TLS is never spoken to in the clear.
    pub(crate) fn client(&self, workload: Option<&Workload>) -> Result<Option<Arc<TlsClient>>, Unfit> {
        let Some(workload) = workload.filter(|it| it.mutual_tls) else {
            return match self.terms {
                MeshTls::Required(_) => Err(Unfit::Endpoint),
                MeshTls::Auto(_) | MeshTls::Off => Ok(None),
            };
        };
        let own = self.own.get().ok_or(Unfit::NoIdentity)?;
        if let Some(kept) = self.clients.load().iter().find(|it| it.is_for(&own, workload)) {
            return kept.client.clone().map(Some);
        }
        self.add(own, workload).map(Some)
    }

    fn add(&self, own: Arc<OwnState>, workload: &Workload) -> Result<Arc<TlsClient>, Unfit> {
        let _adding = self.adding.lock();
        let known = self.clients.load();
        if let Some(kept) = known.iter().find(|it| it.is_for(&own, workload)) {
            return kept.client.clone();
        }
        let client = self.build(&own, workload);
        let kept = Kept {
            own: own.clone(),
            namespace: workload.namespace.as_str().into(),
            account: workload.service_account.as_str().into(),
            client: client.clone(),
        };
        let of_now = known.iter().filter(|it| Arc::ptr_eq(&it.own, &own)).take(CLIENTS - 1).cloned();
        self.clients.store(Arc::new(std::iter::once(kept).chain(of_now).collect()));
        client
    }

    fn build(&self, own: &OwnState, workload: &Workload) -> Result<Arc<TlsClient>, Unfit> {
        let alpn: &[&[u8]] = match self.protocol {
            BackendProtocol::Http1 => &[b"istio-http/1.1", b"istio", b"http/1.1"],
            BackendProtocol::H2c => &[b"istio-h2", b"istio", b"h2"],
            BackendProtocol::Tcp | BackendProtocol::Udp => &[b"istio"],
        };
        let ids = own.domains().iter().map(|domain| workload.spiffe_id(domain).parse::<SpiffeId>());
        let built = ids.collect::<Result<Arc<[SpiffeId]>, _>>().map_err(|error| error.to_string());
        let built = built.and_then(|ids| own.client(ids, alpn).map_err(|error| error.to_string()));
        match built {
            Ok(config) => {
                let (backend, name) = (self.backend.clone(), self.server_name.clone());
                Ok(TlsClient::of_mesh(backend, Arc::new(config), name, self.protocol))
            }
            Err(reason) => {
                let (backend, namespace) = (&self.backend, &workload.namespace);
                let account = &workload.service_account;
                tracing::warn!(%backend, namespace, account, reason, "no TLS of the mesh to a workload");
                Err(Unfit::Client)
            }
        }
    }
}

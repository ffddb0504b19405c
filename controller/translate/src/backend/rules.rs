//! The DestinationRules that hold for a backend, and what they change of it.

use super::{BackendId, Caller, RefFailure};
use crate::destination::{self, Governing, MeshWish};
use crate::model::ServiceModel;
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{
    BackendPolicy, BackendProtocol, Failover, LocalityPolicy, MeshTls, Origin, SubjectName, UpstreamTls,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the rules say of one port for one client.
#[derive(Debug)]
pub(super) struct Ruled {
    /// Added to the key for a subset, and where the client follows other rules than the host's own namespace does: those
    /// must not be taken for each other.
    pub(super) suffix: String,
    pub(super) rules: Arc<[ObjectRef]>,
    pub(super) tls: Option<Box<UpstreamTls>>,
    pub(super) policy: Option<Box<BackendPolicy>>,
    /// Labels of the subset's endpoints; `None`: all endpoints.
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// What the rules say of the mesh's TLS; `None`: nothing.
    mesh: Option<MeshWish>,
    /// Whether a rule says how places count.
    says_locality: bool,
    /// Whether HTTP/2 is spoken where the port says HTTP/1.1.
    is_upgraded: bool,
}

impl Ruled {
    /// The rules, with near places first where only the Service asks for that (`trafficDistribution`).
    pub(super) fn policy_of(&self, service: &ServiceModel) -> Option<Box<BackendPolicy>> {
        if !service.prefers_near || self.says_locality {
            return self.policy.clone();
        }
        let own = || {
            BackendPolicy::new(Origin::new(
                "Service",
                service.reference.namespace.clone(),
                service.reference.name.clone(),
            ))
        };
        let mut policy = self.policy.clone().unwrap_or_else(|| Box::new(own()));
        policy.locality = Some(LocalityPolicy::Failover(Failover::default()));
        Some(policy)
    }

    /// Whether the mesh's TLS is spoken to a port of `host`, where the mesh has it by itself or not; another TLS takes its
    /// place.
    pub(super) fn mesh(
        &self,
        view: &View<'_>,
        id: &BackendId,
        (host, port): (&str, u16),
        (is_internal, has_tls): (bool, bool),
    ) -> MeshTls {
        if !view.is_mesh() || has_tls || id.caller == Caller::Udp {
            return MeshTls::Off;
        }
        let subset = id.subset.as_deref().unwrap_or_default();
        let name = || format!("outbound_.{port}_.{subset}_.{host}").into_boxed_str();
        match self.mesh {
            Some(MeshWish::Off) => MeshTls::Off,
            Some(MeshWish::Required) => MeshTls::Required(name()),
            None if is_internal => MeshTls::Auto(name()),
            None => MeshTls::Off,
        }
    }

    /// What is spoken where the port says so.
    ///
    /// # Errors
    /// When the rules want what the protocol can't have.
    pub(super) fn spoken(&self, protocol: BackendProtocol) -> Result<BackendProtocol, RefFailure> {
        let protocol = match protocol {
            BackendProtocol::Http1 if self.is_upgraded => BackendProtocol::H2c,
            other => other,
        };
        let policy = self.policy.as_deref();
        let may_be_http2 =
            protocol == BackendProtocol::H2c || policy.is_some_and(|it| it.connections.speaks_as_client);
        let is_request = matches!(protocol, BackendProtocol::Http1 | BackendProtocol::H2c);
        // Requests of many clients share a connection, which can begin with what is for one.
        let field = match policy {
            Some(policy) if policy.proxy_header.is_some() => Some("proxyProtocol"),
            Some(policy) if policy.tunnel.is_some() => Some("tunnel"),
            _ => None,
        };
        match field.filter(|_| is_request && may_be_http2) {
            Some(field) => Err(RefFailure::new(
                "UnsupportedProtocol",
                "port",
                format!("HTTP/2 with {field} of a DestinationRule is not supported"),
                format!("remove {field}, or speak HTTP/1.1 to the port"),
            )),
            None => Ok(protocol),
        }
    }
}

/// Looks up the rules for the port of a host that belongs to namespace `home`. `names` is what is known of its
/// certificate. Datagrams follow none.
pub(super) fn ruled(
    view: &View<'_>,
    id: &BackendId,
    home: &Name,
    port: u16,
    names: &[SubjectName],
) -> Result<Ruled, RefFailure> {
    let (host, client) = (id.host(view.domain()), id.client());
    let governing = match id.caller {
        Caller::Udp => Governing::default(),
        Caller::Http | Caller::Grpc | Caller::Tcp | Caller::Detected => {
            destination::find(view, &host, home, client)
        }
    };
    let subset = id.subset.as_deref();
    let labels = subset.map(|name| labels(&governing, &host, name)).transpose()?;
    let terms = governing.terms(port, subset);
    let is_common = client == home
        || !terms.reads_secrets() && governing.is_same(&destination::find(view, &host, home, home));
    let mut suffix = subset.map(|it| format!("/{it}")).unwrap_or_default();
    if !is_common {
        suffix.push('@');
        suffix.push_str(client);
    }
    Ok(Ruled {
        suffix,
        rules: governing.names(),
        tls: terms.tls.and_then(|it| destination::upstream_tls(view, it, client, &host, names)),
        policy: terms.policy(),
        labels,
        mesh: terms.mesh(),
        says_locality: terms.says_locality(),
        is_upgraded: terms.is_upgraded(),
    })
}

fn labels(governing: &Governing<'_>, host: &str, name: &str) -> Result<BTreeMap<String, String>, RefFailure> {
    if let Some((_, subset)) = governing.subset(name) {
        return Ok(subset.labels.clone());
    }
    let rules: Vec<String> = governing.rules.iter().map(|it| it.meta.reference.to_string()).collect();
    let (message, next_step) = match rules.as_slice() {
        [] => (
            format!("no DestinationRule for {host:?} holds here, so that there is no subset {name:?}"),
            "create one in the namespace of the route or of the host",
        ),
        _ => (format!("{} has no subset {name:?}", rules.join(" and ")), "use a subset of the rule"),
    };
    Err(RefFailure::new("BackendNotFound", "name", message, next_step))
}

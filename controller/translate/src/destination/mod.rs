//! DestinationRule (Istio): how clients speak to a host. What a rule says (`model`, `read`,
//! `values`), which rules hold
//! for a client of a host (`lookup`), the TLS that they ask for (`tls`), and what a rule is told about itself
//! (`status`).
//!
//! The client is the namespace of the route: its rules come before those of the host's own namespace, and Secrets are
//! read there. Nothing of a rule is left out silently: a field is done, or the rule says that it is not.

mod lookup;
mod model;
mod read;
mod read_load;
mod read_locality;
mod read_outlier;
mod read_pool;
mod read_tls;
mod status;
mod tls;
mod values;

pub(crate) use lookup::{Governing, MeshWish, clients, find, matches};
pub(crate) use model::DestinationModel;
pub(crate) use status::{Users, compute as status};
pub(crate) use tls::upstream_tls;
pub(crate) use values::{parse_duration, subject_name};

use crate::model::host_name;
use sluice_crds::{Kind, ObjectRef};
use std::sync::Arc;

/// How Services are named: `NAME.NAMESPACE.svc.` and the cluster's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceDomain(Arc<str>);

impl Default for ServiceDomain {
    fn default() -> Self {
        Self::of("cluster.local")
    }
}

impl ServiceDomain {
    /// Of a cluster with this domain.
    pub(crate) fn of(cluster: &str) -> Self {
        Self(format!(".svc.{}", host_name(cluster)).into())
    }

    /// The host by which rules name a Service.
    pub(crate) fn host(&self, service: &ObjectRef) -> String {
        self.host_in(&service.name, &service.namespace)
    }

    /// The same by name and namespace.
    pub(crate) fn host_in(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}{}", self.0)
    }

    /// The Service that a host names, if it is one's.
    pub(crate) fn service(&self, host: &str) -> Option<ObjectRef> {
        let (name, namespace) = host.strip_suffix(&*self.0)?.split_once('.')?;
        let is_one = !name.is_empty() && name != "*" && !namespace.is_empty() && !namespace.contains('.');
        is_one.then(|| ObjectRef::new(Kind::Service, namespace, name))
    }
}

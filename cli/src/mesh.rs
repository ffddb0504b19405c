//! Names that a folder shares with a mesh: what `run`, `check` and `explain` must be told alike.

use sluice_translate::Options;

/// How a mesh names things.
#[derive(clap::Args, Clone, Debug)]
pub struct MeshArgs {
    /// Istio's root namespace: its exported DestinationRules hold where no others do.
    #[arg(long, env = "SLUICE_ROOT_NAMESPACE", value_name = "NAMESPACE", default_value = "istio-system")]
    pub root_namespace: String,
    /// Domain of the cluster: where names of Services end, after `.svc.`.
    #[arg(long, env = "SLUICE_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
}

impl Default for MeshArgs {
    /// As Istio and Kubernetes have it.
    fn default() -> Self {
        let Options { root_namespace, cluster_domain, .. } = Options::default();
        Self { root_namespace, cluster_domain }
    }
}

impl MeshArgs {
    /// For the translation of a folder.
    pub(crate) fn options(&self) -> Options {
        Options {
            standalone: true,
            root_namespace: self.root_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            ..Options::default()
        }
    }
}

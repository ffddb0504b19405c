//! What all sidecars of an installation have in common.

/// Settings of injection. [`InjectSettings::default`] fits `sluice install` without words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectSettings {
    /// Image of the sidecar.
    pub image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub pull_policy: String,
    /// Where sidecars find the controller: `https://sluice-controller.sluice-system.svc:15010`.
    pub controller: String,
    /// Namespace of the controller: its pods never get a sidecar, since nothing could start without them.
    pub system_namespace: String,
    /// Istio's root namespace.
    pub root_namespace: String,
    /// Where names of Services end.
    pub cluster_domain: String,
    /// Trust domain of identities.
    pub trust_domain: String,
    /// What `istio.io/rev` must say to mean this installation.
    pub revision: String,
    /// Whether names that apps ask for are answered by the sidecar, when a pod's annotations say nothing.
    pub dns_capture: bool,
}

impl Default for InjectSettings {
    fn default() -> Self {
        Self {
            image: concat!("sluice-sidecar:", env!("CARGO_PKG_VERSION")).to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
            controller: "https://sluice-controller.sluice-system.svc:15010".to_owned(),
            system_namespace: "sluice-system".to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            trust_domain: "cluster.local".to_owned(),
            revision: "default".to_owned(),
            dns_capture: true,
        }
    }
}

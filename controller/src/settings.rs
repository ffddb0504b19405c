//! Flags of `sluice-controller`; each can be given as a variable.

use crate::identity::Domains;
use crate::inject::InjectSettings;
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The control plane of Sluice on Kubernetes.
#[derive(Clone, Debug, Parser)]
#[command(name = "sluice-controller", version)]
pub struct Settings {
    /// Namespace of the controller itself: of its lease and its certificate authority.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sluice-system", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Name of this replica, unique among them. Default: the host's name.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Where gateways connect.
    #[arg(long, env = "SLUICE_SERVE", default_value = "[::]:15010", value_name = "ADDRESS:PORT")]
    pub serve: SocketAddr,
    /// Where probes and metrics are answered.
    #[arg(long, env = "SLUICE_ADMIN", default_value = "[::]:15014", value_name = "ADDRESS:PORT")]
    pub admin: SocketAddr,
    /// Where the API server asks about new pods.
    #[arg(long, env = "SLUICE_WEBHOOK", default_value = "[::]:15017", value_name = "ADDRESS:PORT")]
    pub webhook: SocketAddr,
    /// Image of the sidecars that pods get.
    #[arg(long, env = "SLUICE_SIDECAR_IMAGE", default_value = "sluice-sidecar", value_name = "IMAGE")]
    pub sidecar_image: String,
    /// When nodes fetch the image of sidecars: IfNotPresent, Always or Never.
    #[arg(long, env = "SLUICE_SIDECAR_PULL_POLICY", default_value = "IfNotPresent", value_name = "POLICY")]
    pub sidecar_pull_policy: String,
    /// What `istio.io/rev` of pods and namespaces must say to mean this controller.
    #[arg(long, env = "SLUICE_REVISION", default_value = "default", value_name = "NAME")]
    pub revision: String,
    /// Image of the gateways that are made.
    #[arg(long, env = "SLUICE_GATEWAY_IMAGE", default_value = "sluice-gateway", value_name = "IMAGE")]
    pub gateway_image: String,
    /// Which GatewayClasses are ours: those with this `controllerName`.
    #[arg(
        long,
        env = "SLUICE_CONTROLLER_NAME",
        default_value = "sluice.dev/gateway-controller",
        value_name = "NAME"
    )]
    pub controller_name: String,
    /// Istio's root namespace: its exported DestinationRules hold where no others do.
    #[arg(long, env = "SLUICE_ROOT_NAMESPACE", default_value = "istio-system", value_name = "NAMESPACE")]
    pub root_namespace: String,
    /// Domain of the cluster: where names of Services end, after `.svc.`.
    #[arg(long, env = "SLUICE_CLUSTER_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Trust domain of the workloads' identities, where the mesh's configuration (ConfigMap istio of the root namespace)
    /// says none.
    #[arg(long, env = "SLUICE_TRUST_DOMAIN", default_value = "cluster.local", value_name = "DOMAIN", value_parser = trust_domain)]
    pub trust_domain: String,
    /// Other trust domains that are taken for it.
    #[arg(
        long,
        env = "SLUICE_TRUST_DOMAIN_ALIASES",
        value_name = "DOMAIN,...",
        value_delimiter = ',',
        value_parser = trust_domain
    )]
    pub trust_domain_aliases: Vec<String>,
    /// Longest life of a workload's certificate.
    #[arg(
        long,
        env = "SLUICE_CERTIFICATE_HOURS",
        default_value = "2160",
        value_name = "HOURS",
        value_parser = clap::value_parser!(u64).range(1..=2160)
    )]
    pub certificate_hours: u64,
    /// How long a root that is brought in the Secret cacerts is trusted before it signs, while another one can.
    #[arg(long, env = "SLUICE_ROOT_WAIT_SECONDS", default_value = "600", value_name = "SECONDS")]
    pub root_wait_seconds: u64,
    /// Whether there is a mesh: where a pod has a sidecar or a namespace asks for injection, in any case with workloads in every
    /// namespace, or never.
    #[arg(long, env = "SLUICE_MESH", value_enum, default_value = "auto")]
    pub mesh: MeshMode,
    /// Token of this replica's service account for the audience sluice-controller: with it replicas tell each other
    /// which gateways have acknowledged what. Without the file each replica knows of its own gateways only.
    #[arg(
        long,
        env = "SLUICE_TOKEN_FILE",
        default_value = "/var/run/sluice/token/token",
        value_name = "FILE"
    )]
    pub token_file: PathBuf,
    /// Name of the Service that gateways and replicas find the controller by.
    #[arg(long, env = "SLUICE_SERVICE", default_value = "sluice-controller", value_name = "NAME")]
    pub service: String,
    /// How to reach the API server. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, env = "SLUICE_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Form of the diagnostics on standard error. What is shown follows SLUICE_LOG.
    #[arg(long, env = "SLUICE_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// Whether there is a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MeshMode {
    /// Where somebody asks for it.
    Auto,
    /// In any case.
    Always,
    /// Never.
    Never,
}

impl MeshMode {
    /// As the translation has it.
    pub fn option(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Always => Some(true),
            Self::Never => Some(false),
        }
    }
}

/// Form of the diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

fn trust_domain(text: &str) -> Result<String, String> {
    match sluice_ir::is_trust_domain(text) {
        true => Ok(text.to_owned()),
        false => Err("a trust domain is lower-case letters, digits, dots, dashes and underscores".to_owned()),
    }
}

impl Settings {
    /// The trust domains where the mesh's configuration says none.
    pub fn domains(&self) -> Domains {
        Domains { own: self.trust_domain.clone(), aliases: self.trust_domain_aliases.clone() }
    }

    /// The same in one list, the own one first.
    pub fn trust_domains(&self) -> Vec<String> {
        std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases).cloned().collect()
    }

    /// The name in the serving certificate that gateways connect to.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// What the sidecars of this installation have in common.
    pub fn inject(&self) -> InjectSettings {
        InjectSettings {
            image: self.sidecar_image.clone(),
            pull_policy: self.sidecar_pull_policy.clone(),
            controller: format!("https://{}:{}", self.server_name(), self.serve.port()),
            system_namespace: self.namespace.clone(),
            root_namespace: self.root_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            revision: self.revision.clone(),
            trust_domain: self.trust_domain.clone(),
            ..InjectSettings::default()
        }
    }

    /// Name of this replica.
    pub fn identity(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|it| !it.is_empty());
        let unnamed = || format!("sluice-controller-{:08x}", rand::random::<u32>());
        self.pod_name.clone().filter(|it| !it.is_empty()).or_else(host).unwrap_or_else(unnamed)
    }
}

//! The way to a cluster: kubeconfig, context, and errors that say what to do.

use anyhow::{Context as _, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use kube::{Client, Config};
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one answer of the API server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Which cluster.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ClusterArgs {
    /// Kubeconfig of the cluster [default: KUBECONFIG, else ~/.kube/config, else the pod's own].
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
}

impl ClusterArgs {
    /// A client of the cluster. Nothing is sent yet.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(ANSWER_TIMEOUT);
        Client::try_from(config).context("the kubeconfig can't be used")
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), cluster: None, user: None };
        let context = self.context.as_deref().map(|it| format!(" (context {it:?})")).unwrap_or_default();
        if let Some(file) = &self.kubeconfig {
            let told = || format!("can't use the kubeconfig {}{context}", file.display());
            let kubeconfig = Kubeconfig::read_from(file).with_context(told)?;
            return Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(told);
        }
        if self.context.is_some() {
            let told = || format!("can't use the kubeconfig{context}; name its file with --kubeconfig");
            return Config::from_kubeconfig(&options).await.with_context(told);
        }
        Config::infer().await.context("found no cluster; name a kubeconfig with --kubeconfig or KUBECONFIG")
    }
}

/// Runs something that talks to a cluster on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // Fails only when somebody installed one before, which nobody does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// What went wrong at the API server, with the next step.
pub fn told(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => {
            let next = match status.code {
                401 => "; log in to the cluster again",
                403 => "; use a context whose user may do this",
                _ => "",
            };
            anyhow!("{}{next}", status.message)
        }
        kube::Error::Auth(error) => anyhow!("can't log in to the cluster: {error}"),
        other => {
            let mut text = String::new();
            let mut cause: Option<&dyn std::error::Error> = Some(&other);
            while let Some(error) = cause {
                let line = error.to_string();
                // Many layers repeat the text of the one below.
                if !text.ends_with(&line) {
                    if !text.is_empty() {
                        text.push_str(": ");
                    }
                    text.push_str(&line);
                }
                cause = error.source();
            }
            anyhow!(
                "can't reach the API server: {text}; is the cluster running, and is it the right context?"
            )
        }
    }
}

/// The resource of a kind that an installation can hold.
pub fn resource(api_version: &str, kind: &str) -> anyhow::Result<ApiResource> {
    let plural = match kind {
        "BackendTLSPolicy" => "backendtlspolicies",
        "ConfigMap" => "configmaps",
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "CustomResourceDefinition" => "customresourcedefinitions",
        "Deployment" => "deployments",
        "Gateway" => "gateways",
        "GatewayClass" => "gatewayclasses",
        "GatewayParameters" => "gatewayparameters",
        "CertificateIssuer" => "certificateissuers",
        "TrafficPolicy" => "trafficpolicies",
        "HealthCheckPolicy" => "healthcheckpolicies",
        "GRPCRoute" => "grpcroutes",
        "HTTPRoute" => "httproutes",
        "Lease" => "leases",
        "ListenerSet" => "listenersets",
        "MutatingWebhookConfiguration" => "mutatingwebhookconfigurations",
        "Namespace" => "namespaces",
        "NetworkPolicy" => "networkpolicies",
        "PodDisruptionBudget" => "poddisruptionbudgets",
        "Role" => "roles",
        "RoleBinding" => "rolebindings",
        "Secret" => "secrets",
        "Service" => "services",
        "ServiceAccount" => "serviceaccounts",
        "TCPRoute" => "tcproutes",
        "TLSRoute" => "tlsroutes",
        "UDPRoute" => "udproutes",
        other => return Err(anyhow!("nothing is known of the kind {other}")),
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Ok(ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    })
}

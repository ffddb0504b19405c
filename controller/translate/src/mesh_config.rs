//! The mesh's configuration as Istio has it: ConfigMap `istio` of the root namespace, key `mesh`. Only what is done here is
//! read; everything else may say what it likes.

use crate::view::View;
use serde::Deserialize;

/// Name of the ConfigMap, in the root namespace.
pub(crate) const CONFIG_MAP: &str = "istio";
/// Its key.
pub(crate) const KEY: &str = "mesh";

/// Text of key `mesh`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Trust domain of the mesh's identities.
    pub trust_domain: Option<String>,
    /// Trust domains whose identities count as the mesh's own.
    pub trust_domain_aliases: Vec<String>,
    /// What policies name by `provider`.
    pub extension_providers: Vec<ExtensionProvider>,
    /// How paths are brought into one form.
    pub path_normalization: PathNormalizationConfig,
    /// What becomes of connections to destinations that the mesh does not know, where no Sidecar says.
    pub outbound_traffic_policy: OutboundConfig,
    /// Which providers hold where no Telemetry names any.
    pub default_providers: DefaultProvidersConfig,
    /// What data planes do where nothing else is said.
    pub default_config: ProxyConfig,
    /// Where access logs go; empty: nowhere.
    pub access_log_file: String,
    /// `TEXT` or `JSON`.
    pub access_log_encoding: String,
}

/// `outboundTrafficPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundConfig {
    /// `ALLOW_ANY` (default), `REGISTRY_ONLY`; any other word is taken for the latter, so that a slip opens nothing.
    pub mode: Option<String>,
}

/// `defaultProviders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProvidersConfig {
    /// Names of providers of spans.
    pub tracing: Vec<String>,
    /// Names of providers of access logs.
    pub access_logging: Vec<String>,
}

/// `defaultConfig`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProxyConfig {
    /// Spans.
    pub tracing: Option<ProxyTracingConfig>,
}

/// `defaultConfig.tracing`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProxyTracingConfig {
    /// Percentage of requests that are recorded.
    pub sampling: Option<f64>,
}

/// `opentelemetry` of a provider.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OpenTelemetryConfig {
    /// `HOST` or `NAMESPACE/HOST`.
    pub service: String,
    /// Its port.
    pub port: i64,
    /// OTLP over HTTP is wanted.
    pub http: Option<HttpExportConfig>,
}

/// `opentelemetry.http`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HttpExportConfig {
    /// Where to; empty: `/v1/traces`.
    pub path: String,
    /// Fields of each request, which may be secrets and are not kept.
    pub headers: Vec<serde::de::IgnoredAny>,
}

/// `envoyFileAccessLog` of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FileLogConfig {
    /// The file.
    pub path: String,
}

/// `pathNormalization`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalizationConfig {
    /// `NONE`, `BASE`, `MERGE_SLASHES`, `DECODE_AND_MERGE_SLASHES`.
    pub normalization: Option<String>,
}

/// An entry of `extensionProviders`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// What policies call it.
    pub name: String,
    /// An authoriser that is asked in HTTP.
    pub envoy_ext_authz_http: Option<HttpAuthorizerConfig>,
    /// An authoriser that is asked in gRPC.
    pub envoy_ext_authz_grpc: Option<GrpcAuthorizerConfig>,
    /// A collector of spans.
    pub opentelemetry: Option<OpenTelemetryConfig>,
    /// A file for access logs.
    pub envoy_file_access_log: Option<FileLogConfig>,
}

/// `envoyExtAuthzHttp`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpAuthorizerConfig {
    /// `HOST` or `NAMESPACE/HOST`.
    pub service: String,
    /// Its port.
    pub port: i64,
    /// Time for an answer.
    pub timeout: Option<String>,
    /// Put before the request's path.
    pub path_prefix: String,
    /// Whether requests go on when it can't be asked.
    pub fail_open: bool,
    /// Status when it can't be asked.
    pub status_on_error: Option<String>,
    /// Fields of the request that it is told besides the usual ones.
    pub include_request_headers_in_check: Vec<String>,
    /// The older name of the same.
    pub include_headers_in_check: Vec<String>,
    /// The body is shown.
    pub include_request_body_in_check: Option<AuthorizerBodyConfig>,
    /// Fields of its answer that the backend gets.
    pub headers_to_upstream_on_allow: Vec<String>,
}

/// `envoyExtAuthzGrpc`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcAuthorizerConfig {
    /// `HOST` or `NAMESPACE/HOST`.
    pub service: String,
    /// Its port.
    pub port: i64,
    /// Time for an answer.
    pub timeout: Option<String>,
    /// Whether requests go on when it can't be asked.
    pub fail_open: bool,
    /// Status when it can't be asked.
    pub status_on_error: Option<String>,
    /// The body is shown.
    pub include_request_body_in_check: Option<AuthorizerBodyConfig>,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizerBodyConfig {
    /// Bytes that are shown.
    pub max_request_bytes: u32,
}

impl MeshConfig {
    /// Reads the text of key `mesh` (YAML).
    ///
    /// # Errors
    /// What can't be read of it, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        })
    }
}

/// The mesh's configuration, with what holds where it says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeshView<'a> {
    /// `Err`: it is there and can't be read.
    config: Result<Option<&'a MeshConfig>, &'a str>,
    defaults: &'a [String],
}

impl<'a> View<'a> {
    /// The mesh's configuration.
    pub(crate) fn mesh(&self) -> MeshView<'a> {
        let reference = sluice_crds::ObjectRef::new(
            sluice_crds::Kind::ConfigMap,
            self.options().root_namespace.as_str(),
            CONFIG_MAP,
        );
        let config = match self.config_map(&reference).and_then(|it| it.mesh.as_ref()) {
            None => Ok(None),
            Some(Ok(config)) => Ok(Some(config)),
            Some(Err(error)) => Err(error.as_str()),
        };
        MeshView { config, defaults: &self.options().trust_domains }
    }
}

impl<'a> MeshView<'a> {
    /// What it says; `None`: nothing that could be read.
    pub(crate) fn config(&self) -> Option<&'a MeshConfig> {
        self.config.ok().flatten()
    }

    /// Why it can't be read.
    pub(crate) fn error(&self) -> Option<&'a str> {
        self.config.err()
    }

    /// The mesh's own trust domain, then its aliases; never empty.
    pub(crate) fn trust_domains(&self) -> Vec<String> {
        let Some(config) = self.config() else { return self.defaults.to_vec() };
        let (first, others) = match self.defaults.split_first() {
            Some((first, others)) => (first.as_str(), others),
            None => ("cluster.local", &[][..]),
        };
        let own = config.trust_domain.as_deref().filter(|it| !it.is_empty()).unwrap_or(first);
        let aliases =
            if config.trust_domain_aliases.is_empty() { others } else { &config.trust_domain_aliases };
        let mut all = vec![own.to_owned()];
        all.extend(aliases.iter().filter(|it| *it != own).cloned());
        all
    }

    /// How paths are read.
    pub(crate) fn paths(&self) -> sluice_ir::PathNormalization {
        use sluice_ir::PathNormalization as R;
        let word = self.config().and_then(|it| it.path_normalization.normalization.as_deref());
        match word {
            Some("NONE" | "BASE") => R::Base,
            Some("MERGE_SLASHES") => R::MergeSlashes,
            Some("DECODE_AND_MERGE_SLASHES") => R::DecodeAndMergeSlashes,
            _ => R::EveryReading,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::MeshConfig;

    #[test]
    fn what_is_not_done_here_may_say_what_it_likes() {
        let text = "trustDomain: td.example\ntrustDomainAliases: [old.example]\ndefaultConfig: {concurrency: 2}\n\
                    extensionProviders:\n- name: auth\n  envoyExtAuthzGrpc: {service: auth.iam.svc.cluster.local, port: 9000}\n\
                    - name: otel\n  opentelemetry: {service: x, port: 4317}\npathNormalization: {normalization: BASE}\n";
        let config = MeshConfig::read(text).unwrap();
        assert_eq!(config.trust_domain.as_deref(), Some("td.example"));
        assert_eq!(config.trust_domain_aliases, ["old.example"]);
        assert_eq!(config.extension_providers[0].envoy_ext_authz_grpc.as_ref().unwrap().port, 9000);
        assert_eq!(config.path_normalization.normalization.as_deref(), Some("BASE"));
        assert_eq!(MeshConfig::read("").unwrap(), MeshConfig::default());
        assert!(MeshConfig::read("trustDomain: [a]").is_err() && MeshConfig::read("a: b: c").is_err());
    }
}

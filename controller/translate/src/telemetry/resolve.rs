//! Names of providers, by the mesh's configuration.

use super::model::{ProviderModel, TelemetryModel, Use};
use crate::mesh_config::{ExtensionProvider, HttpExportConfig, MeshConfig};
use sluice_ir::{
    AccessLog, AccessLogRule, Collector, Origin, Selector, Telemetry, TelemetryMode, TelemetryReach,
    TracingRule,
};

/// Istio's own provider of access logs, which is there without being written.
const ENVOY: &str = "envoy";

/// Where collectors take spans over HTTP (OTLP §OTLP/HTTP Request).
const TRACES_PATH: &str = "/v1/traces";

/// What a model comes to.
pub(super) fn telemetry(
    model: &TelemetryModel,
    reach: TelemetryReach,
    mesh: Option<&MeshConfig>,
) -> Telemetry {
    let reference = &model.meta.reference;
    let tracing = model.tracing.iter().map(|it| {
        // Where a provider can't be used spans go nowhere: not to one that nobody named.
        let found = it.provider.as_ref().map(|provider| collector(mesh, &provider.name));
        TracingRule {
            is_disabled: match &found {
                Some(Err(_)) => Some(true),
                Some(Ok(_)) | None => it.rule.is_disabled,
            },
            collector: found.and_then(Result::ok),
            ..it.rule.clone()
        }
    });
    let access_log = model.logging.iter().map(|it| AccessLogRule {
        mode: it.mode,
        form: match (it.is_disabled, &it.provider) {
            (true, _) => AccessLog::Off,
            (false, Some(provider)) if log_provider(mesh, &provider.name).is_err() => AccessLog::Off,
            (false, _) => form(mesh),
        },
    });
    Telemetry {
        origin: Origin::new("Telemetry", reference.namespace.clone(), reference.name.clone()),
        reach,
        selector: model.selector.clone().unwrap_or_default(),
        tracing: tracing.collect(),
        metrics: model.metrics.clone(),
        access_log: access_log.collect(),
    }
}

/// What holds where no Telemetry says anything; `None`: nothing. `logs`: whether its word on access logs counts.
pub(super) fn default(root: &str, mesh: Option<&MeshConfig>, logs: bool) -> Option<Telemetry> {
    let mesh = mesh?;
    let named = mesh.default_providers.tracing.first();
    let sampling = mesh.default_config.tracing.as_ref().and_then(|it| it.sampling);
    let sampling = sampling.filter(|it| (0.0..=100.0).contains(it)).map(|it| (it * 100.0).round() as u32);
    let rule = TracingRule {
        collector: named.and_then(|name| collector(Some(mesh), name).ok()),
        sampling,
        ..TracingRule::default()
    };
    let says_logs =
        logs && (!mesh.access_log_file.is_empty() || !mesh.default_providers.access_logging.is_empty());
    let log = AccessLogRule { mode: TelemetryMode::Both, form: form(Some(mesh)) };
    let tracing = if rule == TracingRule::default() { Vec::new() } else { vec![rule] };
    let access_log = if says_logs { vec![log] } else { Vec::new() };
    (!tracing.is_empty() || !access_log.is_empty()).then(|| Telemetry {
        origin: Origin::new("ConfigMap", root, crate::mesh_config::CONFIG_MAP),
        reach: TelemetryReach::Default,
        selector: Selector::default(),
        tracing,
        metrics: Vec::new(),
        access_log,
    })
}

/// Istio's text is for people, as ours is.
fn form(mesh: Option<&MeshConfig>) -> AccessLog {
    match mesh.map(|it| it.access_log_encoding.as_str()) {
        Some("JSON") => AccessLog::IstioJson,
        _ => AccessLog::Text,
    }
}

/// Why a provider can't be used.
pub(super) fn failure(mesh: Option<&MeshConfig>, provider: &ProviderModel, used: Use) -> Option<String> {
    match used {
        Use::Tracing => collector(mesh, &provider.name).err(),
        Use::Logging => log_provider(mesh, &provider.name).err(),
    }
}

fn find<'a>(mesh: Option<&'a MeshConfig>, name: &str) -> Result<&'a ExtensionProvider, String> {
    let mut all = mesh.into_iter().flat_map(|it| &it.extension_providers);
    all.find(|it| it.name == name).ok_or_else(|| format!("there is no extension provider {name:?}"))
}

fn collector(mesh: Option<&MeshConfig>, name: &str) -> Result<Collector, String> {
    let provider = find(mesh, name)?;
    let Some(otel) = &provider.opentelemetry else {
        return Err(format!(
            "extension provider {name:?} is none of OpenTelemetry, which is the only one supported"
        ));
    };
    let host = otel.service.rsplit('/').next().unwrap_or_default();
    let is_host =
        !host.is_empty() && host.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-'));
    match (is_host, u16::try_from(otel.port)) {
        (true, Ok(port @ 1..)) => match &otel.http {
            None => Ok(Collector::grpc(format!("http://{host}:{port}"))),
            Some(http) => over_http(name, &format!("http://{host}:{port}"), http),
        },
        (false, _) => Err(format!("extension provider {name:?} has no usable service: {:?}", otel.service)),
        (true, _) => Err(format!("extension provider {name:?} has no usable port: {}", otel.port)),
    }
}

/// OTLP in HTTP: at the path that is named, else at OpenTelemetry's own.
fn over_http(name: &str, server: &str, http: &HttpExportConfig) -> Result<Collector, String> {
    if !http.headers.is_empty() {
        return Err(format!(
            "extension provider {name:?} has http.headers, which are not supported; set OTEL_EXPORTER_OTLP_HEADERS on data planes"
        ));
    }
    let path = if http.path.is_empty() { TRACES_PATH } else { http.path.as_str() };
    let is_path = path.starts_with('/') && path.bytes().all(|it| it.is_ascii_graphic() && it != b'#');
    match is_path {
        true => Ok(Collector::http(format!("{server}{path}"))),
        false => Err(format!("extension provider {name:?} has no usable http.path: {path:?}")),
    }
}

fn log_provider(mesh: Option<&MeshConfig>, name: &str) -> Result<(), String> {
    if name == ENVOY {
        return Ok(());
    }
    let Some(file) = &find(mesh, name)?.envoy_file_access_log else {
        return Err(format!(
            "extension provider {name:?} is none of envoyFileAccessLog, which is the only one supported"
        ));
    };
    match file.path.as_str() {
        "" | "/dev/stdout" => Ok(()),
        path => Err(format!("extension provider {name:?} writes to {path:?}; only /dev/stdout is supported")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::collector;
    use crate::mesh_config::MeshConfig;
    use sluice_ir::Collector;

    fn of(opentelemetry: &str) -> Result<Collector, String> {
        let text = format!("extensionProviders: [{{name: otel, opentelemetry: {opentelemetry}}}]");
        collector(Some(&serde_saphyr::from_str::<MeshConfig>(&text).unwrap()), "otel")
    }

    #[test]
    fn a_collector_over_http_has_a_path_and_no_fields_of_a_tenant() {
        let found = |path: &str| Ok(Collector::http(format!("http://otel.obs:4318{path}")));
        assert_eq!(of("{service: obs/otel.obs, port: 4318, http: {}}"), found("/v1/traces"));
        assert_eq!(of("{service: otel.obs, port: 4318, http: {path: /a?b=c}}"), found("/a?b=c"));
        assert_eq!(of("{service: otel.obs, port: 4318}"), Ok(Collector::grpc("http://otel.obs:4318")));
        for (http, told) in [
            ("{path: traces}", "http.path: \"traces\""),
            ("{path: '/a b'}", "http.path"),
            ("{headers: [{name: authorization, value: s3cret}]}", "OTEL_EXPORTER_OTLP_HEADERS"),
        ] {
            let refused = of(&format!("{{service: otel.obs, port: 4318, http: {http}}}")).unwrap_err();
            assert!(refused.contains(told) && !refused.contains("s3cret"), "{refused}");
        }
    }
}

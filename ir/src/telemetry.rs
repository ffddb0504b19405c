//! What is told of requests and connections: Telemetry, and the mesh's own configuration.

use crate::{AccessLog, Origin, Selector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One Telemetry, or what the mesh's configuration says where no Telemetry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telemetry {
    /// The object.
    pub origin: Origin,
    /// How far it reaches; the narrowest goes first.
    pub reach: TelemetryReach,
    /// Which workloads; of no interest where it is a Gateway's.
    #[serde(default)]
    pub selector: Selector,
    /// Spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracing: Vec<TracingRule>,
    /// Metrics, in the order of the object: later ones win.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricRule>,
    /// The access log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_log: Vec<AccessLogRule>,
}

/// How far settings reach, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TelemetryReach {
    /// Workloads that it selects, or the Gateway that it targets.
    Workload,
    /// Its namespace.
    Namespace,
    /// The mesh: it is the root namespace's.
    Mesh,
    /// What holds where nobody says anything (`meshConfig`).
    Default,
}

/// Which side of a call (`match.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TelemetryMode {
    /// Both.
    #[default]
    Both,
    /// Where the workload calls. Gateways are on this side.
    Client,
    /// Where it is called.
    Server,
}

impl TelemetryMode {
    /// Whether it holds for a side.
    pub fn holds(self, is_server: bool) -> bool {
        match self {
            Self::Both => true,
            Self::Client => !is_server,
            Self::Server => is_server,
        }
    }
}

/// An entry of `spec.tracing`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracingRule {
    /// Which side.
    #[serde(default)]
    pub mode: TelemetryMode,
    /// Where spans go; `None`: as the next wider one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<Collector>,
    /// Share of requests that nobody has decided about, in hundredths of a percent; `None`: as the next wider has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<u32>,
    /// Whether no spans are reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_disabled: Option<bool>,
    /// Further tags; `None`: as the next wider has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, CustomTag>>,
}

/// A server that takes spans by OTLP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Collector {
    /// `http://HOST:PORT` or `https://HOST:PORT`; over HTTP with the path.
    pub url: String,
    /// What it is spoken to in.
    #[serde(default)]
    pub protocol: OtlpProtocol,
}

/// How spans are sent, by OpenTelemetry's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf in a POST.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

impl Collector {
    /// One that is spoken to in gRPC.
    pub fn grpc(url: impl Into<String>) -> Self {
        Self { url: url.into(), protocol: OtlpProtocol::Grpc }
    }

    /// One that is posted to.
    pub fn http(url: impl Into<String>) -> Self {
        Self { url: url.into(), protocol: OtlpProtocol::HttpProtobuf }
    }
}

/// Value of a further tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CustomTag {
    /// This text.
    Literal(String),
    /// An environment variable of the data plane, else this text.
    Environment(String, String),
    /// A field of the request (lower case), else this text.
    Header(String, String),
}

/// An override of `spec.metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricRule {
    /// Which side.
    #[serde(default)]
    pub mode: TelemetryMode,
    /// Istio's name, such as `REQUEST_COUNT`; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Whether it is shown; `None`: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_disabled: Option<bool>,
    /// Labels that it does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_tags: Vec<String>,
}

/// An entry of `spec.accessLogging`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLogRule {
    /// Which side.
    #[serde(default)]
    pub mode: TelemetryMode,
    /// Its form; `Off`: none is written.
    pub form: AccessLog,
}

/// What holds for one side of one workload, or for a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Where spans go; `None`: nowhere is said.
    pub collector: Option<Collector>,
    /// Share of requests that nobody has decided about, in hundredths of a percent.
    pub sampling: Option<u32>,
    /// Whether no spans are reported.
    pub is_tracing_disabled: bool,
    /// Further tags.
    pub tags: BTreeMap<String, CustomTag>,
    /// Overrides of metrics, the widest first.
    pub metrics: Vec<MetricRule>,
    /// Form of the access log; `None`: nobody says.
    pub access_log: Option<AccessLog>,
}

impl TelemetrySettings {
    /// What `all` say of a workload with these labels: for each field the narrowest that says something; of equals the first.
    pub fn of<'a>(
        all: impl IntoIterator<Item = &'a Telemetry>,
        labels: &BTreeMap<String, String>,
        is_server: bool,
    ) -> Self {
        let mut holding: Vec<&Telemetry> = Vec::new();
        for it in all.into_iter().filter(|it| it.selector.selects(labels)) {
            if holding.iter().all(|other| other.reach != it.reach) {
                holding.push(it);
            }
        }
        holding.sort_by_key(|it| it.reach);
        let tracing =
            || holding.iter().flat_map(|it| it.tracing.iter().filter(|rule| rule.mode.holds(is_server)));
        let logs =
            || holding.iter().flat_map(|it| it.access_log.iter().filter(|it| it.mode.holds(is_server)));
        Self {
            collector: tracing().find_map(|it| it.collector.clone()),
            sampling: tracing().find_map(|it| it.sampling),
            is_tracing_disabled: tracing().find_map(|it| it.is_disabled).unwrap_or(false),
            tags: tracing().find_map(|it| it.tags.clone()).unwrap_or_default(),
            metrics: holding
                .iter()
                .rev()
                .flat_map(|it| it.metrics.iter().filter(|it| it.mode.holds(is_server)))
                .cloned()
                .collect(),
            access_log: logs().map(|it| it.form).next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AccessLogRule, Collector, Telemetry, TelemetryMode, TelemetryReach, TelemetrySettings, TracingRule,
    };
    use crate::{AccessLog, Origin, Selector};
    use std::collections::BTreeMap;

    fn labels(app: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("app".to_owned(), app.to_owned())])
    }

    fn telemetry(reach: TelemetryReach, app: Option<&str>, tracing: TracingRule) -> Telemetry {
        Telemetry {
            origin: Origin::new("Telemetry", "shop", "it"),
            reach,
            selector: Selector(app.map(labels).unwrap_or_default()),
            tracing: vec![tracing],
            metrics: Vec::new(),
            access_log: Vec::new(),
        }
    }

    #[test]
    fn each_field_is_the_narrowest_ones_that_says_something() {
        let collector = Some(Collector::grpc("http://otel:4317"));
        let sampling = |sampling| TracingRule { sampling: Some(sampling), ..TracingRule::default() };
        let mut mesh = telemetry(
            TelemetryReach::Mesh,
            None,
            TracingRule { collector: collector.clone(), ..sampling(1) },
        );
        mesh.access_log = vec![AccessLogRule { mode: TelemetryMode::Server, form: AccessLog::Json }];
        let all = [
            mesh,
            telemetry(TelemetryReach::Namespace, None, sampling(2)),
            telemetry(TelemetryReach::Workload, Some("a"), sampling(3)),
            telemetry(TelemetryReach::Workload, Some("a"), sampling(4)),
        ];
        let a = TelemetrySettings::of(&all, &labels("a"), true);
        assert_eq!((a.sampling, a.collector), (Some(3), collector));
        assert_eq!(a.access_log, Some(AccessLog::Json));
        let b = TelemetrySettings::of(&all, &labels("b"), false);
        assert_eq!((b.sampling, b.access_log), (Some(2), None));
    }
}

//! Istio's Telemetry: what is told of calls: spans, metrics, the access log.

use crate::{IstioTargetRef, MatchLabelsSpec};
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `spec` of a Telemetry. Istio's enumerations stay text, so that a newer value does not make the object unreadable.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "telemetry.istio.io",
    version = "v1",
    kind = "Telemetry",
    plural = "telemetries",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct TelemetrySpec {
    /// Which pods; absent: all of the namespace, in the root namespace all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<MatchLabelsSpec>,
    /// The older form of `targetRefs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<IstioTargetRef>,
    /// Gateways of the namespace, or GatewayClasses in the root namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<IstioTargetRef>,
    /// Spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tracing: Vec<TelemetryTracingSpec>,
    /// Metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<TelemetryMetricsSpec>,
    /// The access log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_logging: Vec<TelemetryLoggingSpec>,
}

/// A provider of the mesh's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryProviderSpec {
    /// Its name there.
    pub name: String,
}

/// Which side of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryMatchSpec {
    /// `CLIENT`, `SERVER` or `CLIENT_AND_SERVER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// An entry of `tracing`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryTracingSpec {
    /// Which side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#match: Option<TelemetryMatchSpec>,
    /// Where spans go: at most one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<TelemetryProviderSpec>,
    /// Percentage of requests that nobody has decided about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_sampling_percentage: Option<f64>,
    /// No spans are reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_span_reporting: Option<bool>,
    /// Further tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, TelemetryTagSpec>,
    /// Whether spans have Istio's tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_istio_tags: Option<bool>,
    /// Whether requests are not told of their trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_context_propagation: Option<bool>,
    /// Seldom used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_request_id_for_trace_sampling: Option<bool>,
}

/// Value of a tag: one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryTagSpec {
    /// A text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<TelemetryLiteralSpec>,
    /// A variable of the data plane's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<TelemetryNameSpec>,
    /// A field of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<TelemetryNameSpec>,
    /// A format of Envoy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formatter: Option<TelemetryLiteralSpec>,
}

/// A text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryLiteralSpec {
    /// It.
    pub value: String,
}

/// A name, and what stands for what is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryNameSpec {
    /// Of a variable or field.
    pub name: String,
    /// Where it is not there.
    pub default_value: String,
}

/// An entry of `metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryMetricsSpec {
    /// Who shows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<TelemetryProviderSpec>,
    /// Changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<TelemetryOverrideSpec>,
    /// How often connections are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporting_interval: Option<String>,
}

/// A change of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryOverrideSpec {
    /// Which metrics, and which side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#match: Option<TelemetryMetricMatchSpec>,
    /// They are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Changes of labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tag_overrides: BTreeMap<String, TelemetryTagOverrideSpec>,
}

/// Which metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryMetricMatchSpec {
    /// One of Istio's: `REQUEST_COUNT`, `ALL_METRICS`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// One of another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metric: Option<String>,
    /// Which side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A change of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryTagOverrideSpec {
    /// `UPSERT` (default) or `REMOVE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// A CEL expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// An entry of `accessLogging`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryLoggingSpec {
    /// Which side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#match: Option<TelemetryMatchSpec>,
    /// Where it goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<TelemetryProviderSpec>,
    /// None is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Which requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<TelemetryFilterSpec>,
}

/// Which requests are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryFilterSpec {
    /// A CEL expression.
    pub expression: String,
}

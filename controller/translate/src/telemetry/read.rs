//! From a Telemetry to the model: each field is taken, or noted as one that is not done.

use super::model::{LoggingModel, ProviderModel, TelemetryModel, TracingModel};
use crate::model::{Meta, kind_name};
use crate::targets;
use crate::values::Values;
use sluice_crds::{
    GATEWAY_API_GROUP, IstioTargetRef, Kind, ObjectRef, Telemetry, TelemetryMatchSpec, TelemetryMetricsSpec,
    TelemetryOverrideSpec, TelemetryProviderSpec, TelemetryTagSpec, TelemetryTracingSpec,
};
use sluice_ir::{CustomTag, MetricRule, Selector, TelemetryMode, TracingRule};
use std::collections::BTreeMap;

/// Most further tags of spans.
const MOST_TAGS: usize = 64;

const METRICS: [&str; 11] = [
    "ALL_METRICS",
    "REQUEST_COUNT",
    "REQUEST_DURATION",
    "REQUEST_SIZE",
    "RESPONSE_SIZE",
    "TCP_OPENED_CONNECTIONS",
    "TCP_CLOSED_CONNECTIONS",
    "TCP_SENT_BYTES",
    "TCP_RECEIVED_BYTES",
    "GRPC_REQUEST_MESSAGES",
    "GRPC_RESPONSE_MESSAGES",
];

/// Reads a Telemetry; `root` is the mesh's root namespace.
pub(crate) fn read(it: &Telemetry, root: &str) -> TelemetryModel {
    let meta = Meta::read(Kind::Telemetry, &it.metadata);
    let home = meta.reference.namespace.as_str();
    let spec = &it.spec;
    let mut notes = Values::default();
    let named: Vec<_> = targets::named(spec.target_ref.as_ref(), &spec.target_refs).collect();
    let names_targets = !named.is_empty();
    if names_targets && spec.selector.is_some() {
        notes.fault(
            "selector",
            "stands beside targetRefs",
            "remove one of the two, and write a second Telemetry",
        );
    }
    let targets = named.into_iter().filter_map(|(field, it)| match target(it, home, root) {
        Ok(object) => Some((object, format!("spec.{field}"))),
        Err((message, next_step)) => {
            notes.fault(&field, message, next_step);
            None
        }
    });
    let targets = targets.collect();
    let tracing = spec.tracing.iter().enumerate().map(|(index, it)| tracing(it, index, &mut notes)).collect();
    let metrics = spec.metrics.iter().enumerate();
    let metrics = metrics.flat_map(|(index, it)| metrics_of(it, index, &mut notes)).collect();
    let logging = spec.access_logging.iter().enumerate().filter_map(|(index, it)| {
        let field = format!("accessLogging[{index}]");
        if it.filter.as_ref().is_some_and(|it| !it.expression.is_empty()) {
            let message = "expressions in CEL are not supported: the entry is left out";
            notes.fault(
                format!("{field}.filter.expression"),
                message,
                "remove it, and filter where logs are read",
            );
            return None;
        }
        Some(LoggingModel {
            mode: mode(it.r#match.as_ref(), &field, &mut notes),
            is_disabled: it.disabled.unwrap_or(false),
            provider: provider(&it.providers, &field, &mut notes),
        })
    });
    let logging = logging.collect();
    let selector = spec.selector.as_ref().map(|it| Selector(it.match_labels.clone()));
    let Values { faults, warnings, .. } = notes;
    TelemetryModel { meta, selector, targets, names_targets, tracing, metrics, logging, faults, warnings }
}

fn target(it: &IstioTargetRef, home: &str, root: &str) -> Result<ObjectRef, (String, &'static str)> {
    if it.namespace.as_deref().is_some_and(|it| !it.is_empty() && it != home) {
        return Err((format!("names {} of another namespace", it.kind), "name one of its own namespace"));
    }
    match (it.group.as_deref().unwrap_or_default(), it.kind.as_str()) {
        (GATEWAY_API_GROUP, "Gateway") => Ok(ObjectRef::new(Kind::Gateway, home, &*it.name)),
        (GATEWAY_API_GROUP, "GatewayClass") if home == root => {
            Ok(ObjectRef::new(Kind::GatewayClass, "", &*it.name))
        }
        (GATEWAY_API_GROUP, "GatewayClass") => {
            Err((format!("names a GatewayClass, which only those of namespace {root} may"), "name Gateways"))
        }
        (group, kind) => {
            let message =
                format!("names an object of kind {}, which is not supported", kind_name(kind, group));
            Err((message, "name a Gateway of group gateway.networking.k8s.io, or use selector"))
        }
    }
}

fn tracing(it: &TelemetryTracingSpec, index: usize, notes: &mut Values) -> TracingModel {
    let field = format!("tracing[{index}]");
    let sampling = it.random_sampling_percentage.and_then(|percent| {
        let is_percentage = (0.0..=100.0).contains(&percent);
        if !is_percentage {
            let message = format!("{percent} is no percentage");
            notes.fault(format!("{field}.randomSamplingPercentage"), message, "use 0.00 to 100.00");
        }
        is_percentage.then(|| (percent * 100.0).round() as u32)
    });
    if it.disable_context_propagation == Some(true) {
        let message = "is not supported: requests are told of their trace";
        notes.fault(format!("{field}.disableContextPropagation"), message, "remove it");
    }
    if it.enable_istio_tags == Some(false) {
        let message = "is not supported: spans have Istio's tags";
        notes.fault(format!("{field}.enableIstioTags"), message, "remove it");
    }
    if it.use_request_id_for_trace_sampling == Some(true) {
        let message = "has no effect: the number of a request says nothing of its trace";
        notes.warn(&format!("{field}.useRequestIdForTraceSampling"), message, "remove it");
    }
    if it.custom_tags.len() > MOST_TAGS {
        let message = format!("has {} tags: the first {MOST_TAGS} are taken", it.custom_tags.len());
        notes.fault(format!("{field}.customTags"), message, "use fewer");
    }
    let tags: BTreeMap<_, _> = it
        .custom_tags
        .iter()
        .take(MOST_TAGS)
        .filter_map(|(name, tag)| {
            Some((name.clone(), custom_tag(tag, &format!("{field}.customTags.{name}"), notes)?))
        })
        .collect();
    TracingModel {
        rule: TracingRule {
            mode: mode(it.r#match.as_ref(), &field, notes),
            collector: None,
            sampling,
            is_disabled: it.disable_span_reporting,
            tags: (!it.custom_tags.is_empty()).then_some(tags),
        },
        provider: provider(&it.providers, &field, notes),
    }
}

fn custom_tag(it: &TelemetryTagSpec, field: &str, notes: &mut Values) -> Option<CustomTag> {
    match (&it.literal, &it.environment, &it.header, &it.formatter) {
        (Some(it), None, None, None) => Some(CustomTag::Literal(it.value.clone())),
        (None, Some(it), None, None) => {
            Some(CustomTag::Environment(it.name.clone(), it.default_value.clone()))
        }
        (None, None, Some(it), None) => {
            Some(CustomTag::Header(it.name.to_ascii_lowercase(), it.default_value.clone()))
        }
        (None, None, None, Some(_)) => {
            notes.fault(field, "formatter is not supported", "use literal, environment or header");
            None
        }
        _ => {
            notes.fault(
                field,
                "says nothing, or several things",
                "use one of literal, environment and header",
            );
            None
        }
    }
}

fn metrics_of(it: &TelemetryMetricsSpec, index: usize, notes: &mut Values) -> Vec<MetricRule> {
    let field = format!("metrics[{index}]");
    if let Some(other) = it.providers.iter().find(|it| it.name != "prometheus") {
        let message = format!("{:?} gets no metrics: they are for Prometheus to read", other.name);
        notes.fault(format!("{field}.providers"), message, "name prometheus");
    }
    if it.reporting_interval.is_some() {
        let message = "has no effect: connections are counted as they move bytes";
        notes.warn(&format!("{field}.reportingInterval"), message, "remove it");
    }
    let overrides = it.overrides.iter().enumerate();
    overrides.filter_map(|(index, it)| metric(it, &format!("{field}.overrides[{index}]"), notes)).collect()
}

fn metric(it: &TelemetryOverrideSpec, field: &str, notes: &mut Values) -> Option<MetricRule> {
    let matched = it.r#match.clone().unwrap_or_default();
    if matched.custom_metric.is_some() {
        let message = "is not supported: there are Istio's standard metrics alone";
        notes.fault(format!("{field}.match.customMetric"), message, "use metric");
        return None;
    }
    if let Some(metric) = matched.metric.as_deref().filter(|it| !METRICS.contains(it)) {
        let message = format!("{metric:?} is none of Istio's metrics");
        notes.fault(
            format!("{field}.match.metric"),
            message,
            "use ALL_METRICS, REQUEST_COUNT or another of them",
        );
        return None;
    }
    let mut removed_tags = Vec::new();
    for (name, change) in &it.tag_overrides {
        match change.operation.as_deref() {
            Some("REMOVE") => removed_tags.push(name.clone()),
            Some("UPSERT") | None => {
                let message = "values in CEL are not supported: the label stays as it is";
                notes.fault(
                    format!("{field}.tagOverrides.{name}"),
                    message,
                    "use operation REMOVE, or a rule of Prometheus",
                );
            }
            Some(other) => {
                let message = format!("{other:?} is no operation");
                notes.fault(format!("{field}.tagOverrides.{name}.operation"), message, "use REMOVE");
            }
        }
    }
    Some(MetricRule {
        mode: mode_of(matched.mode.as_deref(), &format!("{field}.match.mode"), notes),
        metric: matched.metric.filter(|it| it != "ALL_METRICS"),
        is_disabled: it.disabled,
        removed_tags,
    })
}

fn mode(it: Option<&TelemetryMatchSpec>, field: &str, notes: &mut Values) -> TelemetryMode {
    mode_of(it.and_then(|it| it.mode.as_deref()), &format!("{field}.match.mode"), notes)
}

fn mode_of(word: Option<&str>, field: &str, notes: &mut Values) -> TelemetryMode {
    match word {
        None | Some("CLIENT_AND_SERVER") => TelemetryMode::Both,
        Some("CLIENT") => TelemetryMode::Client,
        Some("SERVER") => TelemetryMode::Server,
        Some(other) => {
            notes.fault(field, format!("{other:?} is no mode"), "use CLIENT, SERVER or CLIENT_AND_SERVER");
            TelemetryMode::Both
        }
    }
}

fn provider(all: &[TelemetryProviderSpec], field: &str, notes: &mut Values) -> Option<ProviderModel> {
    if all.len() > 1 {
        let message = format!("names {} providers: the first is taken", all.len());
        notes.fault(format!("{field}.providers"), message, "name one");
    }
    let first = all.first()?;
    Some(ProviderModel { name: first.name.clone(), field: format!("{field}.providers[0].name") })
}

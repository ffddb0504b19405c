//! From a HealthCheckPolicy to our own terms, or to what is wrong with it.

use super::model::{HealthModel, HealthTarget, ProbeModel};
use crate::model::Meta;
use crate::syntax;
use crate::values::Values;
use sluice_crds::{
    GrpcHealthSpec, HealthCheckPolicy, HealthCheckPolicySpec, HealthCheckType, HealthInitialState,
    HealthMethod, HealthTls, HttpHealthSpec, Kind,
};
use sluice_ir::StatusRange;
use std::net::IpAddr;
use std::time::Duration;

/// Most entries of `targetRefs`: as many as a status has room for (Gateway API PolicyStatus.ancestors).
const MOST_TARGETS: usize = 16;
/// Most entries of `expectedStatuses`.
const MOST_STATUSES: usize = 16;
/// Longest path.
const PATH_BYTES: usize = 1_024;
/// Longest name of a gRPC service.
const SERVICE_BYTES: usize = 253;

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
const DEFAULT_JITTER_PERCENT: u8 = 10;
const DEFAULT_UNHEALTHY_AFTER: u32 = 3;
const DEFAULT_HEALTHY_AFTER: u32 = 2;
const DEFAULT_MIN_HEALTHY_PERCENT: u8 = 1;

/// Reads a HealthCheckPolicy. One with a fault has no effect.
pub(crate) fn read(it: &HealthCheckPolicy) -> HealthModel {
    let meta = Meta::read(Kind::HealthCheckPolicy, &it.metadata);
    let spec = &it.spec;
    let mut values = Values::default();
    match spec.target_refs.len() {
        0 => values.fault("targetRefs", "names no target", "name a Service or ServiceEntry"),
        1..=MOST_TARGETS => {}
        more => values.fault("targetRefs", format!("names {more} targets"), "use at most 16"),
    }
    let probe = probe(spec, &mut values);
    let interval = values.duration_within("interval", spec.interval.as_ref(), INTERVALS);
    let interval = interval.unwrap_or(DEFAULT_INTERVAL);
    let timeout = values.duration_within("timeout", spec.timeout.as_ref(), TIMEOUTS);
    // The default gives way to a short interval.
    let timeout = timeout.unwrap_or_else(|| DEFAULT_TIMEOUT.min(interval));
    if timeout > interval {
        let message =
            "is longer than the interval: the next check waits for the end of one that takes so long";
        values.warn("timeout", message, "make it shorter than the interval");
    }
    HealthModel {
        targets: spec
            .target_refs
            .iter()
            .map(|it| HealthTarget::read(it, &meta.reference.namespace))
            .collect(),
        probe,
        port: values.number("port", spec.port, (1, 65_535)),
        is_plain: spec.tls == Some(HealthTls::Disable),
        interval,
        timeout,
        jitter_percent: values
            .number("jitterPercent", spec.jitter_percent, (0, 50))
            .unwrap_or(DEFAULT_JITTER_PERCENT),
        unhealthy_after: values
            .number("unhealthyThreshold", spec.unhealthy_threshold, (1, 100))
            .unwrap_or(DEFAULT_UNHEALTHY_AFTER),
        healthy_after: values
            .number("healthyThreshold", spec.healthy_threshold, (1, 100))
            .unwrap_or(DEFAULT_HEALTHY_AFTER),
        starts_pending: spec.initial_state == Some(HealthInitialState::Pending),
        min_healthy_percent: values
            .number("minHealthyPercent", spec.min_healthy_percent, (0, 100))
            .unwrap_or(DEFAULT_MIN_HEALTHY_PERCENT),
        faults: values.faults,
        warnings: values.warnings,
        meta,
    }
}

fn probe(spec: &HealthCheckPolicySpec, values: &mut Values) -> ProbeModel {
    let kind = spec.kind;
    if spec.http.is_some() && kind != HealthCheckType::Http {
        values.fault("http", "is for type HTTP", "remove it, or use type HTTP");
    }
    if spec.grpc.is_some() && kind != HealthCheckType::Grpc {
        values.fault("grpc", "is for type GRPC", "remove it, or use type GRPC");
    }
    match kind {
        HealthCheckType::Http => http(spec.http.as_ref().unwrap_or(&HttpHealthSpec::default()), values),
        HealthCheckType::Grpc => grpc(spec.grpc.as_ref().unwrap_or(&GrpcHealthSpec::default()), values),
        HealthCheckType::Tcp => ProbeModel::Tcp,
    }
}

fn http(spec: &HttpHealthSpec, values: &mut Values) -> ProbeModel {
    let path = spec.path.clone().unwrap_or_else(|| "/".to_owned());
    let is_writable = path.bytes().all(|it| it.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&it));
    if !path.starts_with('/') || !is_writable || path.len() > PATH_BYTES {
        values.fault("http.path", format!("{path:?} is no path"), "write it as /healthz or /healthz?deep=1");
    }
    if let Some(host) = &spec.host
        && host.parse::<IpAddr>().is_err()
        && let Err(message) = syntax::hostname(host, false)
    {
        values.fault("http.host", message, "use a host name or an IP address");
    }
    let statuses = match &spec.expected_statuses {
        None => vec![StatusRange { first: 200, last: 299 }],
        Some(list) if list.is_empty() || list.len() > MOST_STATUSES => {
            let message = format!("names {} statuses", list.len());
            values.fault("http.expectedStatuses", message, "use 1 to 16");
            Vec::new()
        }
        Some(list) => list
            .iter()
            .enumerate()
            .filter_map(|(index, text)| {
                let range = statuses(text);
                if range.is_none() {
                    let field = format!("http.expectedStatuses[{index}]");
                    let message = format!("{text:?} is neither a status nor a range of them");
                    values.fault(field, message, "write it as 204 or 200-299, within 200 to 599");
                }
                range
            })
            .collect(),
    };
    ProbeModel::Http {
        is_head: spec.method == Some(HealthMethod::Head),
        path,
        host: spec.host.clone(),
        statuses,
    }
}

fn grpc(spec: &GrpcHealthSpec, values: &mut Values) -> ProbeModel {
    let service = spec.service.clone().unwrap_or_default();
    if service.len() > SERVICE_BYTES || service.chars().any(char::is_control) {
        values.fault("grpc.service", "is no name of a service", "use at most 253 bytes of text");
    }
    ProbeModel::Grpc { service }
}

/// `204` or `200-299`.
fn statuses(text: &str) -> Option<StatusRange> {
    let status = |text: &str| {
        let number = text.parse::<u16>().ok()?;
        (text.len() == 3 && (200..=599).contains(&number)).then_some(number)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = StatusRange { first: status(first)?, last: status(last)? };
    (range.first <= range.last).then_some(range)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{read, statuses};
    use serde_json::{Value, json};
    use sluice_ir::StatusRange;

    #[test]
    fn a_status_stands_for_itself_and_a_range_has_an_order() {
        assert_eq!(statuses("204"), Some(StatusRange { first: 204, last: 204 }));
        assert_eq!(statuses("200-299"), Some(StatusRange { first: 200, last: 299 }));
        for bad in ["", "20", "0204", "299-200", "199", "600", "200-", "-299", "200-299-300", "+200", "ok"] {
            assert_eq!(statuses(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_field() {
        let fields = |change: Value| -> Vec<String> {
            let mut spec = json!({"targetRefs": [{"kind": "Service", "name": "cart"}], "type": "HTTP"});
            for (name, value) in change.as_object().unwrap() {
                spec[name] = value.clone();
            }
            let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec,
                                "apiVersion": "sluice.dev/v1alpha1", "kind": "HealthCheckPolicy"});
            let model = read(&serde_json::from_value(policy).unwrap());
            model.faults.iter().chain(&model.warnings).map(|it| it.field.clone()).collect()
        };
        assert!(fields(json!({})).is_empty());
        for (change, field) in [
            (json!({"targetRefs": []}), "spec.targetRefs"),
            (json!({"interval": "900ms"}), "spec.interval"),
            (json!({"interval": "2h"}), "spec.interval"),
            (json!({"interval": "soon"}), "spec.interval"),
            (json!({"timeout": "99ms"}), "spec.timeout"),
            (json!({"timeout": "5s", "interval": "1s"}), "spec.timeout"),
            (json!({"port": 0}), "spec.port"),
            (json!({"jitterPercent": 51}), "spec.jitterPercent"),
            (json!({"unhealthyThreshold": 0}), "spec.unhealthyThreshold"),
            (json!({"healthyThreshold": 101}), "spec.healthyThreshold"),
            (json!({"minHealthyPercent": 101}), "spec.minHealthyPercent"),
            (json!({"grpc": {}}), "spec.grpc"),
            (json!({"type": "TCP", "http": {}}), "spec.http"),
            (json!({"type": "GRPC", "grpc": {"service": "a\nb"}}), "spec.grpc.service"),
            (json!({"http": {"path": "healthz"}}), "spec.http.path"),
            (json!({"http": {"path": "/a b"}}), "spec.http.path"),
            (json!({"http": {"path": "/a\r\nx: y"}}), "spec.http.path"),
            (json!({"http": {"host": "a b"}}), "spec.http.host"),
            (json!({"http": {"expectedStatuses": []}}), "spec.http.expectedStatuses"),
            (json!({"http": {"expectedStatuses": ["200", "9"]}}), "spec.http.expectedStatuses[1]"),
        ] {
            assert_eq!(fields(change.clone()), [field], "{change}");
        }
        let short = json!({"interval": "1s"});
        assert!(fields(short).is_empty(), "the default timeout gives way to a short interval");
    }
}

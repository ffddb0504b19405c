//! The series as text, in the order and with the names of Istio's standard metrics.
//!
//! Written directly: one series is some seventy lines with the same thirty labels, which are put together once.

use super::call::{Call, Direction};
use super::overrides::{Metric, Overrides};
use super::party::{Party, UNKNOWN};
use super::series::{BOUNDS, Reading, Series, Values};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// What a family's lines are made of.
enum Shown {
    Counter(fn(&Values) -> u64),
    Histogram(fn(&Values) -> &Reading),
}

/// Name, meaning, what is shown, and of which calls.
struct Family {
    metric: Metric,
    help: &'static str,
    shown: Shown,
    concerns: fn(&Call, &Values) -> bool,
}

fn is_request(call: &Call, values: &Values) -> bool {
    call.protocol != super::RequestProtocol::Tcp && values.requests > 0
}

fn is_grpc(call: &Call, _: &Values) -> bool {
    call.protocol == super::RequestProtocol::Grpc
}

fn is_connection(call: &Call, values: &Values) -> bool {
    call.protocol == super::RequestProtocol::Tcp && values.opened + values.closed > 0
}

/// Name of a metric, without `_total`.
pub(super) fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::Requests => "istio_requests",
        Metric::Duration => "istio_request_duration_milliseconds",
        Metric::RequestBytes => "istio_request_bytes",
        Metric::ResponseBytes => "istio_response_bytes",
        Metric::RequestMessages => "istio_request_messages",
        Metric::ResponseMessages => "istio_response_messages",
        Metric::Opened => "istio_tcp_connections_opened",
        Metric::Closed => "istio_tcp_connections_closed",
        Metric::Sent => "istio_tcp_sent_bytes",
        Metric::Received => "istio_tcp_received_bytes",
    }
}

const FAMILIES: [Family; 10] = [
    Family {
        metric: Metric::Requests,
        help: "Requests that ended",
        shown: Shown::Counter(|it| it.requests),
        concerns: is_request,
    },
    Family {
        metric: Metric::Duration,
        help: "Milliseconds from the end of the request head to the end of the answer",
        shown: Shown::Histogram(|it| &it.duration),
        concerns: is_request,
    },
    Family {
        metric: Metric::RequestBytes,
        help: "Body bytes of requests",
        shown: Shown::Histogram(|it| &it.request_bytes),
        concerns: is_request,
    },
    Family {
        metric: Metric::ResponseBytes,
        help: "Body bytes of answers",
        shown: Shown::Histogram(|it| &it.response_bytes),
        concerns: is_request,
    },
    Family {
        metric: Metric::RequestMessages,
        help: "Messages of gRPC from clients",
        shown: Shown::Counter(|it| it.request_messages),
        concerns: is_grpc,
    },
    Family {
        metric: Metric::ResponseMessages,
        help: "Messages of gRPC to clients",
        shown: Shown::Counter(|it| it.response_messages),
        concerns: is_grpc,
    },
    Family {
        metric: Metric::Opened,
        help: "Connections that are carried whole and began",
        shown: Shown::Counter(|it| it.opened),
        concerns: is_connection,
    },
    Family {
        metric: Metric::Closed,
        help: "Connections that were carried whole and ended",
        shown: Shown::Counter(|it| it.closed),
        concerns: is_connection,
    },
    Family {
        metric: Metric::Sent,
        help: "Bytes carried to clients",
        shown: Shown::Counter(|it| it.sent),
        concerns: is_connection,
    },
    Family {
        metric: Metric::Received,
        help: "Bytes carried from clients",
        shown: Shown::Counter(|it| it.received),
        concerns: is_connection,
    },
];

/// Appends all families. `own`: who reports.
pub(super) fn write(
    out: &mut String,
    own: &Party,
    series: &[Arc<Series>],
    overrides: &Overrides,
    overflowed: u64,
) {
    let read: Vec<(&Call, Values)> = series.iter().map(|it| (&it.call, it.read())).collect();
    let whole: Vec<String> = read.iter().map(|(call, _)| labels(own, call, &[])).collect();
    for family in &FAMILIES {
        describe(out, family);
        // Series of different calls are one where the labels that tell them apart are taken away.
        let mut merged: BTreeMap<String, Values> = BTreeMap::new();
        for ((call, values), whole) in read.iter().zip(&whole) {
            if !(family.concerns)(call, values) || overrides.is_disabled(family.metric, call.direction) {
                continue;
            }
            match overrides.removed(family.metric, call.direction) {
                [] => line(out, family, whole, values),
                removed => merged.entry(labels(own, call, removed)).or_default().merge(values),
            }
        }
        merged.iter().for_each(|(labels, values)| line(out, family, labels, values));
    }
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        out,
        "# HELP istio_build Always 1; the labels name the running build.\n# TYPE istio_build gauge\n\
         istio_build{{component=\"proxy\",tag=\"{version}\"}} 1\n\
         # HELP sluice_mesh_overflowed_calls Calls that were counted without peer and service because there are too many series.\n\
         # TYPE sluice_mesh_overflowed_calls counter\nsluice_mesh_overflowed_calls_total {overflowed}\n"
    );
}

fn describe(out: &mut String, family: &Family) {
    let kind = match family.shown {
        Shown::Counter(_) => "counter",
        Shown::Histogram(_) => "histogram",
    };
    let (name, help) = (name(family.metric), family.help);
    let _ = write!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
}

fn line(out: &mut String, family: &Family, labels: &str, values: &Values) {
    let name = name(family.metric);
    match family.shown {
        Shown::Counter(of) => {
            let _ = writeln!(out, "{name}_total{{{labels}}} {}", of(values));
        }
        Shown::Histogram(of) => {
            let reading = of(values);
            let mut sum = 0;
            let bounds = BOUNDS.iter().map(Some).chain([None]);
            for (bound, count) in bounds.zip(reading.buckets) {
                sum += count;
                let _ = match bound {
                    Some(bound) => writeln!(out, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {sum}"),
                    None => writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {sum}"),
                };
            }
            let _ =
                writeln!(out, "{name}_sum{{{labels}}} {:?}\n{name}_count{{{labels}}} {sum}", reading.sum());
        }
    }
}

/// The labels of a call but for those in `removed`.
fn labels(own: &Party, call: &Call, removed: &[Box<str>]) -> String {
    let mut out = Labels { text: String::with_capacity(1_024), removed };
    let (source, destination) = match call.direction {
        Direction::Outbound => (own, &*call.peer),
        Direction::Inbound => (&*call.peer, own),
    };
    let proven = call.security == super::Security::MutualTls && !call.is_overflow;
    out.push(
        "reporter",
        match call.direction {
            Direction::Outbound => "source",
            Direction::Inbound => "destination",
        },
    );
    party(&mut out, SOURCE, source, proven);
    party(&mut out, DESTINATION, destination, proven);
    out.push("destination_service", &call.service.host);
    out.push("destination_service_name", &call.service.name);
    out.push("destination_service_namespace", &call.service.namespace);
    out.push("request_protocol", call.protocol.word());
    if call.protocol != super::RequestProtocol::Tcp {
        match call.is_overflow {
            true => out.push("response_code", &format!("{}xx", call.code / 100)),
            false => out.push("response_code", &call.code.to_string()),
        }
        let status = call.grpc_status.map(|it| it.to_string()).unwrap_or_default();
        out.push_as_is("grpc_response_status", &status);
    }
    out.push("response_flags", call.flags);
    out.push("connection_security_policy", call.security.word());
    out.text
}

const SOURCE: [&str; 8] = [
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
];

const DESTINATION: [&str; 8] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
];

fn party(out: &mut Labels<'_>, names: [&str; 8], it: &Party, proven: bool) {
    let principal = if proven { &*it.principal } else { "" };
    let values = [
        &*it.workload,
        &*it.namespace,
        principal,
        &*it.app,
        &*it.version,
        &*it.canonical_service,
        &*it.canonical_revision,
        &*it.cluster,
    ];
    names.iter().zip(values).for_each(|(name, value)| out.push(name, value));
}

struct Labels<'a> {
    text: String,
    removed: &'a [Box<str>],
}

impl Labels<'_> {
    /// What is not known is `unknown`.
    fn push(&mut self, name: &str, value: &str) {
        self.push_as_is(name, if value.is_empty() { UNKNOWN } else { value });
    }

    fn push_as_is(&mut self, name: &str, value: &str) {
        if self.removed.iter().any(|it| **it == *name) {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text.push_str(name);
        self.text.push_str("=\"");
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }
}

//! What a pod's annotations ask of its sidecar, checked once.
//!
//! The names and forms are Istio's. What can't be understood is refused: a range that was meant to be left out and is
//! captured, or the other way round, would be found by nobody.

use super::InjectError;
use super::settings::InjectSettings;
use serde_json::{Map, Value, json};

const INTERCEPTION: &str = "sidecar.istio.io/interceptionMode";
const REWRITE: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
const PROXY_CONFIG: &str = "proxy.istio.io/config";
/// Image of this pod's sidecar. Istio's `sidecar.istio.io/proxyImage` names an image of Istio, and is not heeded.
const IMAGE: &str = "sluice.dev/proxy-image";
/// Whether names are answered by the sidecar.
const DNS: &str = "sluice.dev/dns-capture";

/// Annotations that become a flag of `sluice-sidecar capture apply`, and what each holds.
const CAPTURE: [(&str, &str, Holds); 9] = [
    ("traffic.sidecar.istio.io/includeOutboundIPRanges", "--outbound-ip-ranges", Holds::RangesOrAll),
    ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "--exclude-outbound-ip-ranges", Holds::Ranges),
    ("traffic.sidecar.istio.io/includeOutboundPorts", "--outbound-ports", Holds::Ports),
    ("traffic.sidecar.istio.io/excludeOutboundPorts", "--exclude-outbound-ports", Holds::Ports),
    ("traffic.sidecar.istio.io/includeInboundPorts", "--inbound-ports", Holds::PortsOrAll),
    ("traffic.sidecar.istio.io/excludeInboundPorts", "--exclude-inbound-ports", Holds::Ports),
    ("traffic.sidecar.istio.io/excludeInterfaces", "--exclude-interfaces", Holds::Names),
    ("traffic.sidecar.istio.io/kubevirtInterfaces", "--reroute-virtual-interfaces", Holds::Names),
    ("istio.io/reroute-virtual-interfaces", "--reroute-virtual-interfaces", Holds::Names),
];

/// Annotations of resources: where each goes.
const RESOURCES: [(&str, &str, &str); 4] = [
    ("sidecar.istio.io/proxyCPU", "requests", "cpu"),
    ("sidecar.istio.io/proxyMemory", "requests", "memory"),
    ("sidecar.istio.io/proxyCPULimit", "limits", "cpu"),
    ("sidecar.istio.io/proxyMemoryLimit", "limits", "memory"),
];

#[derive(Clone, Copy)]
enum Holds {
    Ranges,
    RangesOrAll,
    Ports,
    PortsOrAll,
    Names,
}

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// Whether traffic is captured.
    pub(super) captures: bool,
    /// Flags of `sluice-sidecar capture apply`, without those that every pod has.
    pub(super) capture_flags: Vec<String>,
    pub(super) dns_capture: bool,
    pub(super) rewrites_probes: bool,
    /// What `SLUICE_LOG` says.
    pub(super) log: String,
    pub(super) image: Option<String>,
    /// `resources` of the sidecar.
    pub(super) resources: Value,
}

impl Asked {
    /// Reads the annotations of a pod.
    pub(super) fn of(pod: &Value, settings: &InjectSettings) -> Result<Self, InjectError> {
        let none = Map::new();
        let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object).unwrap_or(&none);
        let says = |name: &str| annotations.get(name).and_then(Value::as_str).map(str::trim);
        let captures = match says(INTERCEPTION) {
            None | Some("REDIRECT") => true,
            Some("NONE") => false,
            Some(other) => return refused(INTERCEPTION, other, "REDIRECT or NONE (TPROXY is not supported)"),
        };
        let mut capture_flags = Vec::new();
        for (name, flag, holds) in CAPTURE {
            if let Some(value) = says(name) {
                let value = without_blanks(value);
                match holds.fault(&value) {
                    None => capture_flags.push(format!("{flag}={value}")),
                    Some(wanted) => return refused(name, &value, wanted),
                }
            }
        }
        let truth = |name, default| match says(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => refused(name, other, "true or false"),
        };
        Ok(Self {
            captures,
            capture_flags,
            dns_capture: truth(
                DNS,
                says(PROXY_CONFIG).and_then(dns_of_istio).unwrap_or(settings.dns_capture),
            )?,
            rewrites_probes: truth(REWRITE, true)?,
            log: log(says(LOG_LEVEL))?,
            image: says(IMAGE).filter(|it| !it.is_empty()).map(str::to_owned),
            resources: resources(says)?,
        })
    }
}

fn refused<T>(name: &'static str, value: &str, wanted: &'static str) -> Result<T, InjectError> {
    Err(InjectError::Annotation { name, value: value.to_owned(), wanted })
}

fn without_blanks(text: &str) -> String {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    parts.collect::<Vec<_>>().join(",")
}

impl Holds {
    /// What a list without blanks should have been.
    fn fault(self, list: &str) -> Option<&'static str> {
        let all = |fits: fn(&str) -> bool| list.split(',').filter(|it| !it.is_empty()).all(fits);
        let is_port = |it: &str| it.parse::<u16>().is_ok_and(|it| it > 0);
        let (fits, wanted) = match self {
            Self::Ranges => (all(is_range), "a list of networks such as 10.0.0.0/8,192.0.2.1/32"),
            Self::RangesOrAll => (list == "*" || all(is_range), "* or a list of networks such as 10.0.0.0/8"),
            Self::Ports => (all(is_port), "a list of ports such as 5432,6379"),
            Self::PortsOrAll => (list == "*" || all(is_port), "* or a list of ports such as 8080,9090"),
            Self::Names => (
                all(|it| it.len() <= 15 && !it.contains(['/', ' '])),
                "a list of interfaces such as eth1,eth2",
            ),
        };
        (!fits).then_some(wanted)
    }
}

fn is_range(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|it| it <= most)
}

/// Istio's words for levels; ours are those of the filter.
fn log(level: Option<&str>) -> Result<String, InjectError> {
    let word = match level {
        None | Some("") => "info",
        Some("warning" | "warn") => "warn",
        Some("error" | "critical") => "error",
        Some(word @ ("trace" | "debug" | "info" | "off")) => word,
        Some(other) => {
            return refused(LOG_LEVEL, other, "trace, debug, info, warning, error, critical or off");
        }
    };
    Ok(word.to_owned())
}

/// `proxyMetadata.ISTIO_META_DNS_CAPTURE` of a ProxyConfig, the one field of it that is heeded.
fn dns_of_istio(config: &str) -> Option<bool> {
    let config: Value = serde_saphyr::from_str(config).ok()?;
    match config.pointer("/proxyMetadata/ISTIO_META_DNS_CAPTURE")? {
        Value::Bool(is_on) => Some(*is_on),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Those of the annotations. One of them replaces all defaults, as in Istio.
fn resources<'a>(says: impl Fn(&str) -> Option<&'a str>) -> Result<Value, InjectError> {
    let mut resources = Map::new();
    for (name, place, resource) in RESOURCES {
        let Some(value) = says(name).filter(|it| !it.is_empty()) else { continue };
        if !is_quantity(value) {
            return refused(
                name,
                value,
                "an amount as Kubernetes writes it, for example 100m (CPU) or 64Mi (memory)",
            );
        }
        let place = resources.entry(place).or_insert_with(|| json!({}));
        if let Some(place) = place.as_object_mut() {
            place.insert(resource.to_owned(), json!(value));
        }
    }
    if resources.is_empty() {
        return Ok(json!({"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "256Mi"}}));
    }
    Ok(Value::Object(resources))
}

/// The Kubernetes quantity format, without exponents.
fn is_quantity(value: &str) -> bool {
    const SUFFIXES: [&str; 15] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = value.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(value.len());
    let (number, suffix) = value.split_at(end);
    number.starts_with(|it: char| it.is_ascii_digit())
        && number.parse::<f64>().is_ok()
        && number.len() <= 16
        && SUFFIXES.contains(&suffix)
}

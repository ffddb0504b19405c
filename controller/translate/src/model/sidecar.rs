//! Sidecar (Istio): what workloads of a namespace know, and whether what they do not know may be reached.

use super::{Meta, host_name, port};
use crate::problem::Severity;
use crate::syntax;
use sluice_crds::{EgressListenerSpec, Kind, Name, Sidecar};
use sluice_ir::{HostPattern, Selector};

/// A Sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SidecarModel {
    pub(crate) meta: Meta,
    /// Which pods; `None`: all of the namespace, in the root namespace of all that have none of their own.
    pub(crate) selector: Option<Selector>,
    pub(crate) mode: Option<OutboundMode>,
    /// `None`: all destinations.
    pub(crate) egress: Option<Vec<EgressModel>>,
    /// What of it nobody does, or not as it was meant.
    pub(crate) remarks: Vec<Remark>,
    /// Fields that sidecars do not heed.
    pub(crate) undone: Vec<&'static str>,
    /// Fields that gateways do not heed.
    pub(crate) for_sidecars: Vec<&'static str>,
}

/// Weight, field, message, next step.
pub(crate) type Remark = (Severity, String, String, &'static str);

/// An entry of `egress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EgressModel {
    pub(crate) port: Option<u16>,
    pub(crate) hosts: Vec<(OfNamespace, HostPattern)>,
}

/// Whose hosts are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfNamespace {
    Any,
    /// That of the workload.
    Own,
    Named(Name),
}

/// `outboundTrafficPolicy.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutboundMode {
    /// Only what a ServiceEntry names.
    RegistryOnly,
    /// Anything outside.
    AllowAny,
}

impl SidecarModel {
    pub(crate) fn read(it: &Sidecar) -> Self {
        let spec = &it.spec;
        let mut remarks = Vec::new();
        let outbound = spec.outbound_traffic_policy.as_ref();
        let mode = match outbound.and_then(|it| it.mode.as_deref()) {
            None if outbound.is_some() => Some(OutboundMode::RegistryOnly),
            None => None,
            Some("REGISTRY_ONLY") => Some(OutboundMode::RegistryOnly),
            Some("ALLOW_ANY") => Some(OutboundMode::AllowAny),
            Some(other) => {
                let message = format!("{other:?} is no mode: only what a ServiceEntry names may be reached");
                let field = "spec.outboundTrafficPolicy.mode".to_owned();
                remarks.push((Severity::Error, field, message, "use REGISTRY_ONLY or ALLOW_ANY"));
                Some(OutboundMode::RegistryOnly)
            }
        };
        let entries = spec.egress.iter().enumerate();
        let egress = entries.filter_map(|(index, it)| egress(it, index, &mut remarks)).collect();
        let has_selector = spec.workload_selector.is_some();
        let mut undone: Vec<&str> = Vec::new();
        undone.extend((!spec.ingress.is_empty()).then_some("ingress"));
        undone.extend(spec.inbound_connection_pool.as_ref().map(|_| "inboundConnectionPool"));
        let egress_proxy = outbound.and_then(|it| it.egress_proxy.as_ref());
        undone.extend(egress_proxy.map(|_| "outboundTrafficPolicy.egressProxy"));
        let mut for_sidecars: Vec<&str> = Vec::new();
        for_sidecars.extend((has_selector && outbound.is_some()).then_some("workloadSelector"));
        for_sidecars.extend((!spec.egress.is_empty()).then_some("egress"));
        for_sidecars.extend(&undone);
        Self {
            meta: Meta::read(Kind::Sidecar, &it.metadata),
            selector: spec.workload_selector.as_ref().map(|it| Selector(it.labels.clone())),
            mode,
            egress: (!spec.egress.is_empty()).then_some(egress),
            remarks,
            undone,
            for_sidecars,
        }
    }
}

/// An entry of `egress`; `None`: it is not for connections that are captured.
fn egress(it: &EgressListenerSpec, index: usize, remarks: &mut Vec<Remark>) -> Option<EgressModel> {
    let field = format!("spec.egress[{index}]");
    let mut refuse = |part: &str, message: String, next_step: &'static str| {
        remarks.push((Severity::Error, format!("{field}{part}"), message, next_step));
    };
    if let Some(bind) = it.bind.as_deref().filter(|it| !it.is_empty()) {
        let message = format!("no listener is opened at {bind:?}, so that the entry has no effect");
        refuse(".bind", message, "remove bind: connections are captured");
        return None;
    }
    match it.capture_mode.as_deref() {
        None | Some("" | "DEFAULT" | "IPTABLES") => {}
        Some(mode) => {
            let message = format!("{mode:?} has no listener, so that the entry has no effect");
            refuse(".captureMode", message, "use DEFAULT or IPTABLES");
            return None;
        }
    }
    let number = match &it.port {
        None => None,
        Some(it) => match port(it.number) {
            Some(number) => Some(number),
            None => {
                let message = format!("{} is no port, so that the entry has no effect", it.number);
                refuse(".port.number", message, "use 1 to 65535");
                return None;
            }
        },
    };
    let mut hosts = Vec::new();
    for (position, text) in it.hosts.iter().enumerate() {
        match host(text) {
            Ok(host) => hosts.extend(host),
            Err(message) => refuse(
                &format!(".hosts[{position}]"),
                message,
                "write NAMESPACE/HOST, for example ./*, */api.example.com or shop/*.example.com",
            ),
        }
    }
    if it.hosts.is_empty() {
        refuse(".hosts", "names no host, so that nothing is known by it".to_owned(), "name hosts, or ~/*");
    }
    Some(EgressModel { port: number, hosts })
}

/// `NAMESPACE/HOST`; `None`: nobody is meant.
fn host(text: &str) -> Result<Option<(OfNamespace, HostPattern)>, String> {
    let (namespace, host) =
        text.split_once('/').ok_or_else(|| format!("{text:?} has no namespace before a slash"))?;
    let host = host_name(host);
    if host != "*" {
        syntax::hostname(&host, true)?;
    }
    let namespace = match namespace {
        "~" => return Ok(None),
        "*" => OfNamespace::Any,
        "." => OfNamespace::Own,
        "" => return Err(format!("{text:?} names no namespace")),
        name => OfNamespace::Named(name.into()),
    };
    Ok(Some((namespace, HostPattern::parse(&host))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{OfNamespace, SidecarModel};
    use serde_json::{Value, json};

    fn read(egress: Value) -> SidecarModel {
        let object = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "default", "namespace": "shop"}, "spec": {"egress": egress},
        });
        SidecarModel::read(&serde_json::from_value(object).unwrap())
    }

    fn fields(egress: Value) -> Vec<String> {
        read(egress).remarks.into_iter().map(|it| it.1).collect()
    }

    #[test]
    fn hosts_are_those_of_a_namespace_the_own_any_or_none() {
        let model = read(json!([{"hosts": ["./*", "*/*.a.test", "blog/A.test.", "~/*"]}]));
        let hosts: Vec<_> =
            model.egress.unwrap()[0].hosts.iter().map(|(of, it)| (of.clone(), it.to_string())).collect();
        let named = OfNamespace::Named("blog".into());
        let wanted = [(OfNamespace::Own, "*"), (OfNamespace::Any, "*.a.test"), (named, "a.test")];
        assert_eq!(hosts, wanted.map(|(of, it)| (of, it.to_owned())));
        assert!(model.remarks.is_empty());
        assert!(read(json!([])).egress.is_none(), "no entry: everything");
    }

    #[test]
    fn what_is_not_done_is_named_and_spoils_only_itself() {
        let model = read(json!([{"bind": "127.0.0.1", "hosts": ["*/*"]}, {"hosts": ["a.test", "./*"]}]));
        assert_eq!(model.egress.unwrap().len(), 1);
        assert_eq!(fields(json!([{"bind": "127.0.0.1", "hosts": ["*/*"]}])), ["spec.egress[0].bind"]);
        assert_eq!(
            fields(json!([{"captureMode": "NONE", "hosts": ["*/*"]}])),
            ["spec.egress[0].captureMode"]
        );
        assert_eq!(
            fields(json!([{"port": {"number": 0}, "hosts": ["*/*"]}])),
            ["spec.egress[0].port.number"]
        );
        let hosts = json!([{"hosts": ["a.test", "/a.test", "./a..test", "./*"]}]);
        assert_eq!(fields(hosts), [0, 1, 2].map(|it| format!("spec.egress[0].hosts[{it}]")));
        assert_eq!(fields(json!([{}])), ["spec.egress[0].hosts"]);
    }
}

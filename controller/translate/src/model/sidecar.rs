//! Sidecar (Istio): whether hosts that no ServiceEntry names may be reached from a namespace.

use super::Meta;
use crate::problem::Severity;
use sluice_crds::{Kind, Sidecar};

/// A Sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SidecarModel {
    pub(crate) meta: Meta,
    /// Whether it holds for the pods of its selector only: nothing to a gateway.
    pub(crate) has_selector: bool,
    pub(crate) mode: Option<OutboundMode>,
    /// What of it has no effect here: field, message, next step.
    pub(crate) remarks: Vec<(Severity, &'static str, String, &'static str)>,
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
                let field = "spec.outboundTrafficPolicy.mode";
                remarks.push((Severity::Error, field, message, "use REGISTRY_ONLY or ALLOW_ANY"));
                Some(OutboundMode::RegistryOnly)
            }
        };
        let has_selector = spec.workload_selector.is_some();
        let mut ignored: Vec<&str> = Vec::new();
        ignored.extend((has_selector && outbound.is_some()).then_some("workloadSelector"));
        ignored.extend((!spec.egress.is_empty()).then_some("egress"));
        ignored.extend((!spec.ingress.is_empty()).then_some("ingress"));
        ignored.extend(spec.inbound_connection_pool.as_ref().map(|_| "inboundConnectionPool"));
        let egress_proxy = outbound.and_then(|it| it.egress_proxy.as_ref());
        ignored.extend(egress_proxy.map(|_| "outboundTrafficPolicy.egressProxy"));
        if !ignored.is_empty() {
            let message = if has_selector {
                "a Sidecar with workloadSelector has effect with sidecars only".to_owned()
            } else {
                format!("{} has effect with sidecars only", ignored.join(", "))
            };
            remarks.push((
                Severity::Note,
                "spec",
                message,
                "a gateway reads outboundTrafficPolicy.mode alone",
            ));
        }
        Self { meta: Meta::read(Kind::Sidecar, &it.metadata), has_selector, mode, remarks }
    }
}

//! PeerAuthentication (Istio): where the mesh's TLS is needed, taken or switched off.

use super::Meta;
use crate::problem::Severity;
use sluice_crds::{Kind, MutualTlsSpec, PeerAuthentication};
use sluice_ir::{MutualTls, MutualTlsMode, Origin, Selector};

/// A PeerAuthentication.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PeerAuthenticationModel {
    pub(crate) meta: Meta,
    /// As workloads get it; whether it is the mesh's is not known here.
    pub(crate) rule: MutualTls,
    /// What of it is not done, or not as it was meant: field, message, next step.
    pub(crate) remarks: Vec<(Severity, String, String, &'static str)>,
}

impl PeerAuthenticationModel {
    pub(crate) fn read(it: &PeerAuthentication) -> Self {
        let meta = Meta::read(Kind::PeerAuthentication, &it.metadata);
        let mut remarks = Vec::new();
        let spec = &it.spec;
        let selector = Selector(spec.selector.as_ref().map(|it| it.match_labels.clone()).unwrap_or_default());
        let mode = spec.mtls.as_ref().and_then(|it| mode(it, "spec.mtls.mode", &mut remarks));
        let mut ports = std::collections::BTreeMap::new();
        for (port, it) in &spec.port_level_mtls {
            let field = format!("spec.portLevelMtls[{port}]");
            match port.parse::<u16>().ok().filter(|it| *it != 0) {
                Some(number) => {
                    ports.insert(number, self::mode(it, &format!("{field}.mode"), &mut remarks));
                }
                None => {
                    let message = format!("{port:?} is no port");
                    remarks.push((Severity::Error, field, message, "use 1 to 65535"));
                }
            }
        }
        if selector.is_all() && !ports.is_empty() {
            ports.clear();
            let message = "has no effect without a selector".to_owned();
            let next_step = "name the workload in selector.matchLabels";
            remarks.push((Severity::Error, "spec.portLevelMtls".to_owned(), message, next_step));
        }
        let (namespace, name) = (meta.reference.namespace.clone(), meta.reference.name.clone());
        let origin = Origin::new("PeerAuthentication", namespace, name);
        Self { rule: MutualTls { origin, is_mesh: false, selector, mode, ports }, meta, remarks }
    }
}

/// `None`: as the next wider one has it. A word that nobody knows is taken for the strictest, so that a slip opens
/// nothing.
fn mode(
    it: &MutualTlsSpec,
    field: &str,
    remarks: &mut Vec<(Severity, String, String, &'static str)>,
) -> Option<MutualTlsMode> {
    match it.mode.as_deref() {
        None | Some("" | "UNSET") => None,
        Some("DISABLE") => Some(MutualTlsMode::Disable),
        Some("PERMISSIVE") => Some(MutualTlsMode::Permissive),
        Some("STRICT") => Some(MutualTlsMode::Strict),
        Some(other) => {
            let message = format!("{other:?} is no mode: it counts as STRICT");
            let next_step = "use UNSET, DISABLE, PERMISSIVE or STRICT";
            remarks.push((Severity::Error, field.to_owned(), message, next_step));
            Some(MutualTlsMode::Strict)
        }
    }
}

//! BackendTLSPolicy (GEP-1897): which policy holds for a port of a Service or ServiceEntry, the TLS that it asks for (`upstream_tls`),
//! and what the policy is told about itself (`status`).
//!
//! Whatever is wrong with a policy, the port that it holds for is never spoken to in the clear or without a check: a
//! policy without usable authorities trusts nobody.

mod status;

pub(crate) use status::{Users, compute as status};

use crate::authorities::{self, Authorities};
use crate::model::{PolicyModel, TrustModel};
use crate::view::View;
use sluice_crds::ObjectRef;
use sluice_ir::{Origin, SecretBytes, Trust, UpstreamTls};
use std::sync::Arc;

/// The TLS that is spoken with a port of a Service or ServiceEntry; `None` without a policy.
pub(crate) fn upstream_tls(view: &View<'_>, object: &ObjectRef, port_name: &str) -> Option<Box<UpstreamTls>> {
    let policies = view.policies_of(object);
    if policies.is_empty() {
        return None;
    }
    let of_port = winner(&policies, object, Some(port_name).filter(|it| !it.is_empty()));
    // The policy of a port comes before that of the whole object (GEP-713 on section names).
    let policy = of_port.or_else(|| winner(&policies, object, None))?;
    let reference = &policy.meta.reference;
    let trust = match &policy.trust {
        _ if policy.refused.is_some() => Trust::Bundle(SecretBytes::new(Vec::new())),
        TrustModel::System => Trust::System,
        TrustModel::References(_) => Trust::Bundle(SecretBytes::new(load(view, policy).pem)),
    };
    Some(Box::new(UpstreamTls {
        origin: Origin::new(reference.kind.name(), reference.namespace.clone(), reference.name.clone()),
        server_name: policy.server_name.clone(),
        subject_names: policy.subject_names.clone(),
        trust,
        revocations: None,
        certificate: None,
    }))
}

/// Of policies in the order in which they win, the first that targets exactly this: a section, or the whole object.
fn winner<'a>(
    policies: &[&'a Arc<PolicyModel>],
    object: &ObjectRef,
    section: Option<&str>,
) -> Option<&'a Arc<PolicyModel>> {
    let is_meant = |it: &&&Arc<PolicyModel>| {
        let mut targets = it.targets.iter().filter(|it| it.object.as_ref() == Ok(object));
        targets.any(|it| it.section.as_deref() == section)
    };
    policies.iter().find(is_meant).copied()
}

/// The authorities that a policy names; references stay within its namespace.
fn load(view: &View<'_>, policy: &PolicyModel) -> Authorities {
    match &policy.trust {
        TrustModel::System => Authorities::default(),
        TrustModel::References(references) => {
            authorities::load(view, &policy.meta.reference.namespace, references, |_| false)
        }
    }
}

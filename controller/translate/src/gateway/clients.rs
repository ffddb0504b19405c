//! Certificates of clients (`tls.frontend`, GEP-91): which authorities an HTTPS listener asks for.

use super::listener::{Judged, Refusal};
use crate::authorities::{self, Authorities, Cause};
use crate::model::{GatewayModel, ValidationModel};
use crate::problem::{Problems, Severity};
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, ObjectRef};
use sluice_ir::{ClientValidation, ClientValidationMode, SecretBytes};

/// What the listener asks its clients for. One that can't check them is refused: its port does not answer.
pub(crate) fn judge(
    view: &View<'_>,
    gateway: &GatewayModel,
    owner: &ObjectRef,
    judged: &mut Judged<'_>,
    problems: &mut Problems,
) -> Option<Box<ClientValidation>> {
    let validation = gateway.client_tls.of_port(judged.model.port)?;
    let own = &gateway.meta.reference;
    let authorities = authorities::load(view, &own.namespace, &validation.authorities, |object| {
        let from = (GATEWAY_API_GROUP, own.kind.name(), own.namespace.as_str());
        view.is_granted(from, ("", object.kind.name(), &object.namespace, &object.name))
    });
    if owner == own {
        report(&authorities, validation, problems);
    } else if !authorities.faults.is_empty() {
        let message = format!("{own}: {} can't be used in full", validation.field);
        problems.error(format!("{}.port", judged.field), message, "see the problems of the Gateway");
    }
    if let Some(refusal) = unresolved(&authorities) {
        // RefNotPermitted counts before all else.
        let counts_more =
            |before: &Refusal| before.reason != "RefNotPermitted" && refusal.reason == "RefNotPermitted";
        if judged.unresolved.as_ref().is_none_or(counts_more) {
            judged.unresolved = Some(refusal);
        }
    }
    if authorities.pem.is_empty() {
        let message = format!("{} names no authority that can be used", validation.field);
        judged.refused.get_or_insert(Refusal { reason: "NoValidCACertificate", message });
    }
    Some(Box::new(ClientValidation { authorities: SecretBytes::new(authorities.pem), mode: validation.mode }))
}

fn unresolved(authorities: &Authorities) -> Option<Refusal> {
    let forbidden = authorities.faults.iter().find(|(_, it)| it.cause == Cause::NotPermitted);
    let (_, first) = forbidden.or(authorities.faults.first())?;
    let reason = match first.cause {
        Cause::Kind => "InvalidCACertificateKind",
        Cause::NotPermitted => "RefNotPermitted",
        Cause::Content => "InvalidCACertificateRef",
    };
    let all: Vec<&str> = authorities.faults.iter().map(|(_, it)| it.message.as_str()).collect();
    Some(Refusal { reason, message: all.join("; ") })
}

fn report(authorities: &Authorities, validation: &ValidationModel, problems: &mut Problems) {
    let place = &validation.field;
    for (index, fault) in &authorities.faults {
        let field = format!("{place}.caCertificateRefs[{index}]");
        problems.error(field, fault.message.clone(), fault.next_step.clone());
    }
    if validation.mode == ClientValidationMode::AllowInsecureFallback {
        let message = "clients without a valid certificate are let in";
        problems.add(Severity::Warning, format!("{place}.mode"), message, "use AllowValidOnly");
    }
}

//! The certificate that a Gateway shows to backends it speaks TLS with (`tls.backend.clientCertificateRef`, GEP-3155).

use super::listener::{self, Refusal};
use crate::model::GatewayModel;
use crate::problem::Problems;
use crate::view::View;
use sluice_ir::Certificate;
use std::sync::Arc;

/// The certificate, or why ResolvedRefs of the Gateway is False; `None` when it names none.
pub(crate) fn judge(
    view: &View<'_>,
    model: &GatewayModel,
    problems: &mut Problems,
) -> Option<Result<Arc<Certificate>, Refusal>> {
    let reference = model.backend_certificate.as_ref()?;
    let found = listener::certificate(view, &model.meta.reference, reference);
    Some(found.map_err(|(refusal, next_step)| {
        let message = format!("{}; backends are shown no certificate", refusal.message);
        problems.error("spec.tls.backend.clientCertificateRef", message, next_step);
        let reason = match refusal.reason {
            "RefNotPermitted" => "RefNotPermitted",
            _ => "InvalidClientCertificateRef",
        };
        Refusal { reason, ..refusal }
    }))
}

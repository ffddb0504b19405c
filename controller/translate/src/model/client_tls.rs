//! What a Gateway asks of its clients: `tls.frontend` (GEP-91).

use super::ObjectReference;
use sluice_crds::gateways::{
    GatewayTlsFrontend, GatewayTlsFrontendDefaultValidationMode, GatewayTlsFrontendPerPortTlsValidationMode,
};
use sluice_ir::ClientValidationMode;

/// `tls.frontend`: the default, and what single ports have in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientTlsModel {
    default: Option<ValidationModel>,
    ports: Vec<(i32, Option<ValidationModel>)>,
}

/// `validation` of the default or of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidationModel {
    /// Its path: `spec.tls.frontend.default.validation`.
    pub(crate) field: String,
    pub(crate) authorities: Vec<ObjectReference>,
    pub(crate) mode: ClientValidationMode,
}

macro_rules! validation {
    ($it:expr, $field:expr, $mode:ident) => {
        $it.map(|it| ValidationModel {
            field: $field,
            authorities: it
                .ca_certificate_refs
                .iter()
                .map(|it| ObjectReference {
                    group: it.group.clone(),
                    kind: it.kind.clone(),
                    namespace: it.namespace.clone().filter(|it| !it.is_empty()),
                    name: it.name.clone(),
                })
                .collect(),
            mode: match it.mode {
                Some($mode::AllowInsecureFallback) => ClientValidationMode::AllowInsecureFallback,
                Some($mode::AllowValidOnly) | None => ClientValidationMode::AllowValidOnly,
            },
        })
    };
}

impl ClientTlsModel {
    pub(crate) fn read(it: &GatewayTlsFrontend) -> Self {
        let default = it.default.validation.as_ref();
        let field = "spec.tls.frontend.default.validation".to_owned();
        let ports = it.per_port.iter().flatten().enumerate().map(|(index, it)| {
            let field = format!("spec.tls.frontend.perPort[{index}].tls.validation");
            let own = it.tls.validation.as_ref();
            (it.port, validation!(own, field, GatewayTlsFrontendPerPortTlsValidationMode))
        });
        Self {
            default: validation!(default, field, GatewayTlsFrontendDefaultValidationMode),
            ports: ports.collect(),
        }
    }

    /// What clients of `port` are asked for: the port's own word counts in place of the default.
    pub(crate) fn of_port(&self, port: i32) -> Option<&ValidationModel> {
        let own = self.ports.iter().find(|it| it.0 == port);
        own.map_or(self.default.as_ref(), |it| it.1.as_ref())
    }

    /// Whether some clients without a valid certificate are let in.
    pub(crate) fn is_insecure(&self) -> bool {
        let ports = self.ports.iter().filter_map(|it| it.1.as_ref());
        self.default.iter().chain(ports).any(|it| it.mode == ClientValidationMode::AllowInsecureFallback)
    }
}

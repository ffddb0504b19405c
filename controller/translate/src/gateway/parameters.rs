//! GatewayParameters: from the object to `ir::Settings`.

use crate::model::{ParametersModel, ParametersReference, kind_name};
use crate::problem::{Problem, Problems};
use crate::syntax;
use crate::view::View;
use sluice_crds::{
    AccessLogFormat, BalancingPolicy, ClientCertificateField as Field, ClientCertificateHeaderSpec,
    ProxyProtocolMode, SLUICE_GROUP,
};
use sluice_ir::{AccessLog, Balancing, ClientCertificateField, ProxyProtocol, Settings};
use std::sync::Arc;
use std::time::Duration;

/// Why a `parametersRef` can't be followed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) next_step: String,
}

/// Finds the object of a `parametersRef`; `namespace` is that of the Gateway, `None` for a class.
pub(crate) fn find<'a>(
    view: &View<'a>,
    reference: &ParametersReference,
    namespace: Option<&str>,
) -> Result<&'a Arc<ParametersModel>, Failure> {
    let name = &reference.name;
    if reference.group != SLUICE_GROUP || reference.kind != "GatewayParameters" {
        return Err(Failure {
            message: format!(
                "parameters of kind {} are not supported",
                kind_name(&reference.kind, &reference.group)
            ),
            next_step: format!("use kind GatewayParameters of group {SLUICE_GROUP}"),
        });
    }
    let Some(namespace) = namespace.or(reference.namespace.as_deref()) else {
        return Err(Failure {
            message: format!("parametersRef {name:?} names no namespace"),
            next_step: "add the namespace of the GatewayParameters".to_owned(),
        });
    };
    view.parameters(namespace, name).ok_or_else(|| Failure {
        message: format!("GatewayParameters \"{namespace}/{name}\" not found"),
        next_step: "create it, or remove parametersRef".to_owned(),
    })
}

/// The settings that an object makes, and what is wrong with it. A value that can't be used is an error; the caller
/// decides what that means for the Gateway.
pub(crate) fn settings(model: &ParametersModel) -> (Settings, Vec<Problem>) {
    let mut settings = Settings::standard();
    let mut problems = Problems::of(&model.reference);
    let spec = &model.spec;
    let mut read = Reader { problems: &mut problems };
    if let Some(it) = &spec.limits {
        let limits = &mut settings.limits;
        read.duration(
            "limits.requestHeadTimeout",
            it.request_head_timeout.as_ref(),
            &mut limits.request_head_timeout,
        );
        read.duration(
            "limits.tlsHandshakeTimeout",
            it.tls_handshake_timeout.as_ref(),
            &mut limits.tls_handshake_timeout,
        );
        read.duration("limits.idleTimeout", it.idle_timeout.as_ref(), &mut limits.idle_timeout);
        read.duration(
            "limits.streamIdleTimeout",
            it.stream_idle_timeout.as_ref(),
            &mut limits.stream_idle_timeout,
        );
        read.duration("limits.connectTimeout", it.connect_timeout.as_ref(), &mut limits.connect_timeout);
        read.number(
            "limits.requestHeadBytes",
            it.request_head_bytes,
            (1_024, 1_048_576),
            &mut limits.request_head_bytes,
        );
        read.number("limits.requestHeaders", it.request_headers, (1, 256), &mut limits.request_headers);
        read.number("limits.connections", it.connections, (1, 10_000_000), &mut limits.connections);
        read.number(
            "limits.connectionsPerClient",
            it.connections_per_client,
            (1, 10_000_000),
            &mut limits.connections_per_client,
        );
        read.number(
            "limits.streamsPerConnection",
            it.streams_per_connection,
            (1, 10_000),
            &mut limits.streams_per_connection,
        );
        read.number(
            "limits.resetsPerSecond",
            it.resets_per_second,
            (1, 1_000_000),
            &mut limits.resets_per_second,
        );
        read.number(
            "limits.pendingRequests",
            it.pending_requests,
            (1, 10_000_000),
            &mut limits.pending_requests,
        );
        read.duration(
            "limits.datagramIdleTimeout",
            it.datagram_idle_timeout.as_ref(),
            &mut limits.datagram_idle_timeout,
        );
        read.number(
            "limits.datagramSessions",
            it.datagram_sessions,
            (1, 10_000_000),
            &mut limits.datagram_sessions,
        );
        read.number(
            "limits.datagramSessionsPerClient",
            it.datagram_sessions_per_client,
            (1, 10_000_000),
            &mut limits.datagram_sessions_per_client,
        );
        if it.request_body_bytes.is_some() {
            let mut bytes = 0_u64;
            read.number("limits.requestBodyBytes", it.request_body_bytes, (0, i64::MAX), &mut bytes);
            limits.request_body_bytes = Some(bytes);
        }
    }
    let failures = &mut settings.eject_after_failures;
    read.number("ejectAfterFailures", spec.eject_after_failures, (0, 1_000_000), failures);
    read.duration("ejectFor", spec.eject_for.as_ref(), &mut settings.eject_for);
    read.number("trustedHops", spec.trusted_hops, (0, 255), &mut settings.trusted_hops);
    if let Some(header) = &spec.client_certificate_header {
        settings.client_certificate_header = client_certificate_header(header);
    }
    settings.proxy_protocol = match spec.proxy_protocol {
        Some(ProxyProtocolMode::Required) => ProxyProtocol::Required,
        Some(ProxyProtocolMode::Disabled) | None => ProxyProtocol::Off,
    };
    settings.access_log = match spec.access_log {
        Some(AccessLogFormat::Text) => AccessLog::Text,
        Some(AccessLogFormat::Json) => AccessLog::Json,
        Some(AccessLogFormat::IstioJson) => AccessLog::IstioJson,
        Some(AccessLogFormat::Disabled) | None => AccessLog::Off,
    };
    settings.balancing = match spec.balancing {
        Some(BalancingPolicy::RoundRobin) => Balancing::RoundRobin,
        Some(BalancingPolicy::Random) => Balancing::Random,
        Some(BalancingPolicy::LeastRequest) | None => Balancing::LeastRequest,
    };
    (settings, problems.into_list())
}

/// Each field once, in the order of the header.
fn client_certificate_header(spec: &ClientCertificateHeaderSpec) -> Vec<ClientCertificateField> {
    let chosen = spec.fields.as_deref().unwrap_or(&[Field::Hash, Field::Subject, Field::Uri, Field::Dns]);
    let has = |field: ClientCertificateField| {
        chosen.iter().any(|it| match it {
            Field::Hash => field == ClientCertificateField::Hash,
            Field::Cert => field == ClientCertificateField::Cert,
            Field::Chain => field == ClientCertificateField::Chain,
            Field::Subject => field == ClientCertificateField::Subject,
            Field::Uri => field == ClientCertificateField::Uri,
            Field::Dns => field == ClientCertificateField::Dns,
        })
    };
    ClientCertificateField::ALL.into_iter().filter(|field| has(*field)).collect()
}

struct Reader<'a> {
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn duration(&mut self, field: &str, text: Option<&String>, into: &mut Duration) {
        match text.map(|it| syntax::duration(it)) {
            None => {}
            Some(Ok(value)) if !value.is_zero() => *into = value,
            Some(Ok(_)) => self.problems.error(format!("spec.{field}"), "must be longer than 0", ""),
            Some(Err(message)) => self.problems.error(format!("spec.{field}"), message, ""),
        }
    }

    fn number<T: TryFrom<i64>>(&mut self, field: &str, number: Option<i64>, range: (i64, i64), into: &mut T) {
        let Some(number) = number else { return };
        let (low, high) = range;
        match T::try_from(number) {
            Ok(value) if (low..=high).contains(&number) => *into = value,
            _ => self.problems.error(
                format!("spec.{field}"),
                format!("{number} is out of range"),
                match high {
                    i64::MAX => format!("use {low} or more"),
                    high => format!("use {low} to {high}"),
                },
            ),
        }
    }
}

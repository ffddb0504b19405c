//! One listener by itself: can it be served, which routes may attach, which certificates does it show. Conflicts with
//! others come in `conflicts`.

use super::clients;
use crate::model::{GatewayModel, ListenerModel, NamespaceRule, ObjectReference, kind_name};
use crate::problem::{Problems, Severity};
use crate::status::RouteGroupKind;
use crate::syntax;
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, Kind, Name, ObjectRef};
use sluice_ir::{Certificate, HostPattern, ListenerKey, RouteKind, Tls, TlsVersion};
use std::sync::Arc;

/// The listeners that a Gateway or ListenerSet offers to routes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) gateway: ObjectRef,
    pub(crate) listeners: Vec<Offer>,
}

/// What a route must know of a listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) key: ListenerKey,
    pub(crate) name: String,
    pub(crate) port: i32,
    pub(crate) hostname: HostPattern,
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) namespaces: NamespaceRule,
    /// Whether the data plane has it.
    pub(crate) is_served: bool,
}

/// Why a condition does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// A listener with all that is known about it.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) model: &'a ListenerModel,
    pub(crate) key: ListenerKey,
    /// Path in its object: `spec.listeners[0]`.
    pub(crate) field: String,
    /// `None` when it is no port.
    pub(crate) port: Option<u16>,
    /// `None` when it can't be read.
    pub(crate) hostname: Option<HostPattern>,
    /// Accepted=False.
    pub(crate) refused: Option<Refusal>,
    /// ResolvedRefs=False.
    pub(crate) unresolved: Option<Refusal>,
    /// Conflicted=True.
    pub(crate) conflicted: Option<Refusal>,
    /// OverlappingTLSConfig=True.
    pub(crate) overlapping: Option<Refusal>,
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) certificates: Vec<Arc<Certificate>>,
    pub(crate) tls: Option<Tls>,
}

impl Judged<'_> {
    /// Whether it can serve, for all that this side knows.
    pub(crate) fn is_served(&self) -> bool {
        self.refused.is_none()
            && self.conflicted.is_none()
            && !self.kinds.is_empty()
            && (self.model.protocol != "HTTPS" || self.tls.is_some())
    }

    /// `supportedKinds` of the status.
    pub(crate) fn supported_kinds(&self) -> Vec<RouteGroupKind> {
        let name = |kind: &RouteKind| match kind {
            RouteKind::Http => "HTTPRoute".to_owned(),
            RouteKind::Grpc => "GRPCRoute".to_owned(),
        };
        let kinds = self.kinds.iter();
        kinds.map(|kind| RouteGroupKind { group: GATEWAY_API_GROUP.to_owned(), kind: name(kind) }).collect()
    }

    /// What routes must know.
    pub(crate) fn offer(&self, is_served: bool) -> Offer {
        Offer {
            key: self.key.clone(),
            name: self.model.name.clone(),
            port: self.model.port,
            hostname: self.hostname.clone().unwrap_or(HostPattern::Any),
            kinds: self.kinds.clone(),
            namespaces: self.model.namespaces.clone(),
            is_served,
        }
    }
}

/// Judges the listener at `index` of `owner`.
pub(crate) fn judge<'a>(
    view: &View<'_>,
    gateway: &GatewayModel,
    owner: &ObjectRef,
    (index, model): (usize, &'a ListenerModel),
    problems: &mut Problems,
) -> Judged<'a> {
    let field = format!("spec.listeners[{index}]");
    let mut judged = Judged {
        model,
        key: ListenerKey::new(format!("{}/{}/{}/{}", owner.kind, owner.namespace, owner.name, model.name)),
        port: crate::model::port(i64::from(model.port)),
        hostname: Some(model.hostname.as_deref().map_or(HostPattern::Any, HostPattern::parse)),
        refused: None,
        unresolved: None,
        conflicted: None,
        overlapping: None,
        kinds: Vec::new(),
        certificates: Vec::new(),
        tls: None,
        field,
    };
    judged.refused = refusal(&mut judged, problems);
    if matches!(model.protocol.as_str(), "HTTP" | "HTTPS") {
        judge_kinds(&mut judged, problems);
        if model.protocol == "HTTPS" && model.tls.as_ref().is_none_or(|it| !it.is_passthrough) {
            judge_certificates(view, owner, &mut judged, problems);
            let validation = clients::judge(view, gateway, owner, &mut judged, problems);
            if let Some(tls) = &mut judged.tls {
                tls.client_validation = validation;
            }
        }
        if let NamespaceRule::Selector(selector) = &model.namespaces
            && let Some(operator) = selector.unknown_operator()
        {
            problems.error(
                format!("{}.allowedRoutes.namespaces.selector", judged.field),
                format!("unknown operator {operator:?}"),
                "use In, NotIn, Exists or DoesNotExist",
            );
        }
    }
    judged
}

/// Whether the listener's own values can be used.
fn refusal(judged: &mut Judged<'_>, problems: &mut Problems) -> Option<Refusal> {
    let model = judged.model;
    let field = judged.field.clone();
    let mut refuse = |part: &str, reason: &'static str, message: String, next_step: &str| {
        problems.error(format!("{field}.{part}"), message.clone(), next_step);
        Some(Refusal { reason, message })
    };
    match model.protocol.as_str() {
        "HTTP" | "HTTPS" => {}
        "TLS" | "TCP" | "UDP" => {
            let message = format!("protocol {} is not supported yet", model.protocol);
            return refuse("protocol", "UnsupportedProtocol", message, "use HTTP or HTTPS");
        }
        other => {
            let message = format!("protocol {other:?} is unknown");
            return refuse("protocol", "UnsupportedProtocol", message, "use HTTP or HTTPS");
        }
    }
    if judged.port.is_none() {
        return refuse("port", "Invalid", format!("{} is no port", model.port), "use 1 to 65535");
    }
    if let Some(Err(message)) = model.hostname.as_deref().map(|it| syntax::hostname(it, true)) {
        judged.hostname = None;
        return refuse("hostname", "Invalid", message, "");
    }
    match (&model.tls, model.protocol.as_str()) {
        (Some(_), "HTTP") => refuse(
            "tls",
            "Invalid",
            "a listener of protocol HTTP can't have tls".to_owned(),
            "use HTTPS, or remove tls",
        ),
        (Some(tls), _) if tls.is_passthrough => refuse(
            "tls.mode",
            "Invalid",
            "mode Passthrough is not possible with protocol HTTPS".to_owned(),
            "use mode Terminate",
        ),
        (_, _) => None,
    }
}

fn judge_kinds(judged: &mut Judged<'_>, problems: &mut Problems) {
    let Some(asked) = &judged.model.kinds else {
        judged.kinds = vec![RouteKind::Http, RouteKind::Grpc];
        return;
    };
    for (index, it) in asked.iter().enumerate() {
        let kind = match (it.group.as_str(), it.kind.as_str()) {
            (GATEWAY_API_GROUP, "HTTPRoute") => RouteKind::Http,
            (GATEWAY_API_GROUP, "GRPCRoute") => RouteKind::Grpc,
            (group, kind) => {
                let message =
                    format!("routes of kind {} can't attach to this listener", kind_name(kind, group));
                problems.error(
                    format!("{}.allowedRoutes.kinds[{index}]", judged.field),
                    message.clone(),
                    "use HTTPRoute or GRPCRoute",
                );
                judged.unresolved.get_or_insert(Refusal { reason: "InvalidRouteKinds", message });
                continue;
            }
        };
        if !judged.kinds.contains(&kind) {
            judged.kinds.push(kind);
        }
    }
}

fn judge_certificates(view: &View<'_>, owner: &ObjectRef, judged: &mut Judged<'_>, problems: &mut Problems) {
    let references = judged.model.tls.as_ref().map(|it| it.certificates.as_slice()).unwrap_or_default();
    let mut worst: Option<Refusal> = None;
    if references.is_empty() {
        let message = "a listener of protocol HTTPS needs tls.certificateRefs".to_owned();
        let next_step = "name a Secret of type kubernetes.io/tls";
        problems.error(format!("{}.tls.certificateRefs", judged.field), message.clone(), next_step);
        worst = Some(Refusal { reason: "InvalidCertificateRef", message });
    }
    for (index, reference) in references.iter().enumerate() {
        match certificate(view, owner, reference) {
            Ok(certificate) => judged.certificates.push(certificate),
            Err((refusal, next_step)) => {
                let field = format!("{}.tls.certificateRefs[{index}]", judged.field);
                problems.error(field, refusal.message.clone(), next_step);
                // RefNotPermitted counts before all else.
                if worst.is_none() || refusal.reason == "RefNotPermitted" {
                    worst = Some(refusal);
                }
            }
        }
    }
    if worst.is_some() {
        judged.unresolved = worst;
    }
    warn_if_not_covered(judged, problems);
    let minimum_version = minimum_version(judged, problems);
    if judged.certificates.is_empty() {
        return;
    }
    let certificates = judged.certificates.iter().map(|it| it.key.clone()).collect();
    judged.tls =
        minimum_version.map(|minimum_version| Tls { certificates, minimum_version, client_validation: None });
}

/// Warns of certificates that clients of the listener's host will not take.
fn warn_if_not_covered(judged: &Judged<'_>, problems: &mut Problems) {
    let Some(hostname) = judged.hostname.as_ref().filter(|it| **it != HostPattern::Any) else { return };
    let names: Vec<&String> = judged.certificates.iter().flat_map(|it| &it.names).collect();
    if names.is_empty() || names.iter().any(|name| HostPattern::parse(name).contains(hostname)) {
        return;
    }
    let names: Vec<&str> = names.iter().take(5).map(|it| it.as_str()).collect();
    problems.add(
        Severity::Warning,
        format!("{}.tls.certificateRefs", judged.field),
        format!("no certificate is good for {hostname} (names: {})", names.join(", ")),
        "use a certificate with this name",
    );
}

/// The Secret that a reference of `owner` names, if it can be one.
pub(crate) fn secret(owner: &ObjectRef, reference: &ObjectReference) -> Option<ObjectRef> {
    if !reference.group.is_empty() || reference.kind != "Secret" {
        return None;
    }
    let namespace = reference.namespace.as_ref().map_or_else(|| owner.namespace.clone(), Name::from);
    Some(ObjectRef::new(Kind::Secret, namespace, reference.name.clone()))
}

/// The certificate that a reference of `owner` names, or why there is none and the next step.
pub(crate) fn certificate(
    view: &View<'_>,
    owner: &ObjectRef,
    reference: &ObjectReference,
) -> Result<Arc<Certificate>, (Refusal, String)> {
    let invalid = |message: String, next_step: &str| {
        Err((Refusal { reason: "InvalidCertificateRef", message }, next_step.to_owned()))
    };
    let Some(secret) = secret(owner, reference) else {
        let message = format!(
            "certificates of kind {} are not supported",
            kind_name(&reference.kind, &reference.group)
        );
        return invalid(message, "use kind Secret");
    };
    let from = (GATEWAY_API_GROUP, owner.kind.name(), owner.namespace.as_str());
    let to = ("", "Secret", secret.namespace.as_str(), secret.name.as_str());
    if secret.namespace != owner.namespace && !view.is_granted(from, to) {
        let message = format!(
            "Secret \"{}/{}\" is in another namespace, and no ReferenceGrant there lets {} of namespace {} name it",
            secret.namespace, secret.name, owner.kind, owner.namespace
        );
        let next_step = format!("create a ReferenceGrant in namespace {}", secret.namespace);
        return Err((Refusal { reason: "RefNotPermitted", message }, next_step));
    }
    match view.certificate(&secret).map(|it| &**it) {
        Some(Ok(loaded)) => Ok(loaded.certificate.clone()),
        Some(Err(message)) => invalid(message.clone(), "correct the Secret or the reference"),
        None => invalid(format!("Secret \"{}/{}\" not found", secret.namespace, secret.name), "create it"),
    }
}

/// `tls.options`; `None` when a value can't be used, so that nobody is served with less than was asked for.
fn minimum_version(judged: &mut Judged<'_>, problems: &mut Problems) -> Option<TlsVersion> {
    let mut version = TlsVersion::default();
    for (name, value) in judged.model.tls.iter().flat_map(|it| &it.options) {
        let field = format!("{}.tls.options[{name}]", judged.field);
        match (name.as_str(), value.as_str()) {
            ("sluice.dev/minimum-tls-version", "1.2") => version = TlsVersion::V1_2,
            ("sluice.dev/minimum-tls-version", "1.3") => version = TlsVersion::V1_3,
            ("sluice.dev/minimum-tls-version", other) => {
                let message = format!("{other:?} is no TLS version that can be the minimum");
                problems.error(field, message.clone(), "use \"1.2\" or \"1.3\"");
                judged.refused.get_or_insert(Refusal { reason: "UnsupportedValue", message });
                return None;
            }
            (name, _) => problems.add(
                Severity::Note,
                field,
                format!("option {name:?} is not known and has no effect"),
                "known: sluice.dev/minimum-tls-version",
            ),
        }
    }
    Some(version)
}

//! One listener by itself: can it be served, which routes may attach, which certificates does it show. Conflicts with
//! others come in `conflicts`.

use super::issuer::{self, Automatic, Owner};
use super::protocol::{self, Protocol};
use super::{clients, tls_options};
use crate::model::{GatewayModel, ListenerModel, NamespaceRule, ObjectReference, Transport, kind_name};
use crate::problem::{Problems, Severity};
use crate::status::RouteGroupKind;
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, Kind, Name, ObjectRef};
use sluice_ir::{Certificate, HostPattern, ListenerKey, Tls};
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
    pub(crate) kinds: Vec<Kind>,
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
    /// `None` when it is unknown.
    pub(crate) protocol: Option<Protocol>,
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
    pub(crate) kinds: Vec<Kind>,
    pub(crate) certificates: Vec<Arc<Certificate>>,
    pub(crate) tls: Option<Tls>,
    /// What an issuer does for its certificate.
    pub(crate) automatic: Option<Automatic>,
    /// It has no certificate yet, and is to get one from its issuer.
    pub(crate) waits: bool,
}

impl Judged<'_> {
    /// Whether it can serve, for all that this side knows.
    pub(crate) fn is_served(&self) -> bool {
        self.refused.is_none()
            && self.conflicted.is_none()
            && (!self.kinds.is_empty() || self.protocol == Some(Protocol::ForwardProxy))
            && self.protocol.is_some_and(|it| !it.ends_tls() || self.tls.is_some())
    }

    /// The port that it takes.
    pub(crate) fn place(&self) -> Option<(Transport, u16)> {
        Some((self.protocol?.transport(), self.port?))
    }

    /// `supportedKinds` of the status.
    pub(crate) fn supported_kinds(&self) -> Vec<RouteGroupKind> {
        let name = |kind: &Kind| RouteGroupKind {
            group: GATEWAY_API_GROUP.to_owned(),
            kind: kind.name().to_owned(),
        };
        self.kinds.iter().map(name).collect()
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
    owner: Owner<'_>,
    (index, model): (usize, &'a ListenerModel),
    problems: &mut Problems,
) -> Judged<'a> {
    let field = format!("spec.listeners[{index}]");
    let mut judged = Judged {
        model,
        key: ListenerKey::new(format!(
            "{}/{}/{}/{}",
            owner.reference.kind, owner.reference.namespace, owner.reference.name, model.name
        )),
        protocol: Protocol::of(model),
        port: crate::model::port(i64::from(model.port)),
        hostname: Some(model.hostname.as_deref().map_or(HostPattern::Any, HostPattern::parse)),
        refused: None,
        unresolved: None,
        conflicted: None,
        overlapping: None,
        kinds: Vec::new(),
        certificates: Vec::new(),
        tls: None,
        automatic: None,
        waits: false,
        field,
    };
    judged.refused = protocol::refusal(&mut judged, problems);
    let Some(protocol) = judged.protocol else { return judged };
    judge_kinds(protocol, &mut judged, problems);
    if protocol.ends_tls() && model.tls.as_ref().is_none_or(|it| !it.is_passthrough) {
        judge_certificates(view, owner, &mut judged, problems);
    }
    if protocol == Protocol::Https && model.tls.as_ref().is_none_or(|it| !it.is_passthrough) {
        let validation = clients::judge(view, gateway, owner.reference, &mut judged, problems);
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
    judged
}

fn judge_kinds(protocol: Protocol, judged: &mut Judged<'_>, problems: &mut Problems) {
    let possible = protocol.kinds();
    let Some(asked) = &judged.model.kinds else {
        judged.kinds = possible.to_vec();
        return;
    };
    for (index, it) in asked.iter().enumerate() {
        let is_meant = |kind: &&Kind| it.group == GATEWAY_API_GROUP && it.kind == kind.name();
        match possible.iter().find(is_meant) {
            Some(kind) if judged.kinds.contains(kind) => {}
            Some(kind) => judged.kinds.push(*kind),
            None => {
                let kind = kind_name(&it.kind, &it.group);
                let message = format!("routes of kind {kind} can't attach to this listener");
                let names: Vec<&str> = possible.iter().map(|it| it.name()).collect();
                let next_step = format!("use {}", names.join(" or "));
                let field = format!("{}.allowedRoutes.kinds[{index}]", judged.field);
                problems.error(field, message.clone(), next_step);
                judged.unresolved.get_or_insert(Refusal { reason: "InvalidRouteKinds", message });
            }
        }
    }
}

fn judge_certificates(view: &View<'_>, owner: Owner<'_>, judged: &mut Judged<'_>, problems: &mut Problems) {
    let derived = issuer::derived(owner, judged.model);
    let named = judged.model.tls.as_ref().map(|it| it.certificates.as_slice()).unwrap_or_default();
    let automatic = issuer::judge(view, owner, judged, problems);
    let on_demand = automatic.as_ref().and_then(|it| it.on_demand_key(owner.reference));
    // What handshakes ask for is beside what the listener names.
    let derived = derived.filter(|_| on_demand.is_none());
    let references = derived.as_ref().map_or(named, std::slice::from_ref);
    let orders_name = automatic.as_ref().filter(|_| on_demand.is_none());
    let is_foreign = orders_name.is_some_and(|it| issuer::is_foreign(view, it));
    let mut worst: Option<Refusal> = None;
    if references.is_empty() && on_demand.is_none() {
        let message = format!("a listener of protocol {} needs tls.certificateRefs", judged.model.protocol);
        let next_step = "name a Secret of type kubernetes.io/tls";
        problems.error(format!("{}.tls.certificateRefs", judged.field), message.clone(), next_step);
        worst = Some(Refusal { reason: "InvalidCertificateRef", message });
    }
    for (index, reference) in references.iter().enumerate() {
        match certificate(view, owner.reference, reference) {
            Ok(certificate) => judged.certificates.push(certificate),
            Err(_) if index == 0 && orders_name.is_some() && !is_foreign => judged.waits = true,
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
    if let Some(automatic) = automatic {
        worst = automatic_refusal(judged, &automatic, is_foreign, problems).or(worst);
        judged.automatic = Some(automatic).filter(|_| !is_foreign);
    }
    if worst.is_some() {
        judged.unresolved = worst;
    }
    warn_if_not_covered(judged, problems);
    let certificates: Vec<_> = judged.certificates.iter().map(|it| it.key.clone()).collect();
    let Some(tls) = tls_options::read(judged, certificates, problems) else { return };
    judged.waits &= judged.certificates.is_empty();
    if judged.certificates.is_empty() && !judged.waits && on_demand.is_none() {
        return;
    }
    judged.tls = Some(Tls { on_demand, ..tls });
}

/// Why the certificate of an issuer is not there, or may not be renewed.
fn automatic_refusal(
    judged: &Judged<'_>,
    automatic: &Automatic,
    is_foreign: bool,
    problems: &mut Problems,
) -> Option<Refusal> {
    if is_foreign {
        issuer::note_foreign(automatic, judged, problems);
        return None;
    }
    match &automatic.orders {
        Err(refusal) => Some(refusal.clone()),
        Ok(_) if judged.waits => {
            let message = format!("{} waits for {}", automatic.secret, automatic.issuer);
            let field = format!("{}.tls", judged.field);
            problems.add(Severity::Note, field, message.clone(), "");
            Some(Refusal { reason: "CertificatePending", message })
        }
        Ok(_) => None,
    }
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

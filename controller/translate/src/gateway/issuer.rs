//! Which CertificateIssuer a listener's certificate comes from, where it is kept, and whether its name may be ordered.
//!
//! The choice is the listener's `tls.options` or the annotation of its Gateway or ListenerSet, both
//! `sluice.dev/certificate-issuer: NAME` or `NAMESPACE/NAME`. The certificate is in the Secret that `certificateRefs[0]`
//! names, else in one with a derived name. A Secret that somebody else made is served and never touched.

use super::listener::{Judged, Refusal};
use super::protocol::Protocol;
use crate::issuer::{DomainRule, IssuerOutcome};
use crate::model::{ListenerModel, ObjectReference};
use crate::problem::{Problems, Severity};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{HostPattern, OnDemandKey};

/// Option of a listener, annotation of a Gateway or ListenerSet.
pub(crate) const ISSUER: &str = "sluice.dev/certificate-issuer";

/// A Gateway or ListenerSet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) reference: &'a ObjectRef,
    /// Its annotation.
    pub(crate) issuer: Option<&'a str>,
}

/// What an issuer does for a listener.
#[derive(Debug)]
pub(crate) struct Automatic {
    pub(crate) issuer: ObjectRef,
    /// Where the certificate is kept.
    pub(crate) secret: ObjectRef,
    /// Whether the Secret is there.
    pub(crate) is_there: bool,
    /// What to order, or why nothing.
    pub(crate) orders: Result<Orders, Refusal>,
}

/// What is ordered for a listener.
#[derive(Debug)]
pub(crate) enum Orders {
    /// A certificate of this name.
    Name(String),
    /// One for each name that handshakes ask for. The names that the issuer lets the namespace have; `None`: all.
    OnDemand(Option<Vec<String>>),
}

impl Automatic {
    /// Whether handshakes ask for the names.
    pub(crate) fn is_on_demand(&self) -> bool {
        matches!(self.orders, Ok(Orders::OnDemand(_)))
    }

    /// What listeners of `owner`'s namespace with this issuer share.
    pub(crate) fn on_demand_key(&self, owner: &ObjectRef) -> Option<OnDemandKey> {
        self.is_on_demand().then(|| {
            on_demand_key(&owner.namespace, &format!("{}/{}", self.issuer.namespace, self.issuer.name))
        })
    }
}

/// The key of a namespace and an issuer's `NAMESPACE/NAME`.
pub(crate) fn on_demand_key(namespace: &str, issuer: &str) -> OnDemandKey {
    OnDemandKey::new(format!("{namespace}/{issuer}"))
}

/// A name that an accepted listener wants in a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) secret: ObjectRef,
    pub(crate) issuer: ObjectRef,
    pub(crate) name: String,
    /// Whether the Secret is there.
    pub(crate) is_there: bool,
}

/// What a listener's option or its owner's annotation names.
fn chosen<'a>(owner: Owner<'a>, model: &'a ListenerModel) -> Option<&'a str> {
    let tls = model.tls.as_ref();
    if !Protocol::of(model).is_some_and(Protocol::ends_tls) || tls.is_some_and(|it| it.is_passthrough) {
        return None;
    }
    let own = tls.and_then(|it| it.options.get(ISSUER)).map(String::as_str);
    own.or(owner.issuer).filter(|it| !it.is_empty())
}

/// The Secret that an issuer keeps the listener's certificate in when no reference names one.
pub(crate) fn derived(owner: Owner<'_>, model: &ListenerModel) -> Option<ObjectReference> {
    chosen(owner, model)?;
    model.tls.as_ref().is_none_or(|it| it.certificates.is_empty()).then(|| ObjectReference {
        group: String::new(),
        kind: "Secret".to_owned(),
        namespace: None,
        name: derived_name(owner.reference, &model.name),
    })
}

/// Tells owners of one name apart by a hash, and stays within the 63 letters that a label takes.
fn derived_name(owner: &ObjectRef, section: &str) -> String {
    let whole = format!("{}/{}/{section}", owner.kind, owner.name);
    let hash = sluice_ir::fingerprint(whole.as_bytes());
    let hash: String = hash.trim_start_matches("sha256:").chars().take(8).collect();
    let readable: String = format!("{}-{section}", owner.name).chars().take(54).collect();
    format!("{}-{hash}", readable.trim_end_matches(['-', '.']))
}

/// What the chosen issuer does; `None` when none is chosen.
pub(crate) fn judge(
    view: &View<'_>,
    owner: Owner<'_>,
    judged: &Judged<'_>,
    problems: &mut Problems,
) -> Option<Automatic> {
    let text = chosen(owner, judged.model)?;
    let own = &owner.reference.namespace;
    let issuer = match text.split_once('/') {
        Some((namespace, name)) => ObjectRef::new(Kind::CertificateIssuer, namespace, name),
        None => ObjectRef::new(Kind::CertificateIssuer, own.clone(), text),
    };
    let reference = judged.model.tls.as_ref().and_then(|it| it.certificates.first().cloned());
    let reference = reference.or_else(|| derived(owner, judged.model))?;
    let orders = permitted(view, owner, &issuer).and_then(|outcome| {
        if is_for_many(judged) && outcome.plan.as_ref().is_some_and(|it| it.on_demand.is_some()) {
            return Ok(Orders::OnDemand(lets(view, owner, &issuer, outcome)));
        }
        place(owner, &reference)?;
        name(view, owner, judged, &issuer, outcome).map(Orders::Name)
    });
    if let Err(refusal) = &orders {
        let field = format!("{}.tls.options[{ISSUER}]", judged.field);
        problems.error(field, refusal.message.clone(), "correct the issuer or the listener");
    }
    let secret = ObjectRef::new(Kind::Secret, own.clone(), reference.name);
    let is_there = view.secret(&secret).is_some();
    Some(Automatic { issuer, secret, is_there, orders })
}

/// Whether the listener answers for more than one host.
fn is_for_many(judged: &Judged<'_>) -> bool {
    matches!(judged.hostname, Some(HostPattern::Any | HostPattern::Wildcard(_)))
}

/// The names that the issuer lets the owner's namespace have; `None`: all.
fn lets(
    view: &View<'_>,
    owner: Owner<'_>,
    issuer: &ObjectRef,
    outcome: &IssuerOutcome,
) -> Option<Vec<String>> {
    let own = owner.reference.namespace.as_str();
    let is_own =
        |it: &&DomainRule| it.namespaces.allows(&issuer.namespace, own, || view.namespace_labels(own));
    (!outcome.domains.is_empty())
        .then(|| outcome.domains.iter().filter(is_own).flat_map(|it| it.names.clone()).collect())
}

fn refusal<T>(reason: &'static str, message: String) -> Result<T, Refusal> {
    Err(Refusal { reason, message })
}

/// An issuer keeps certificates beside who asks for them, and nowhere else.
fn place(owner: Owner<'_>, reference: &ObjectReference) -> Result<(), Refusal> {
    let own = owner.reference.namespace.as_str();
    let is_own = reference.namespace.as_deref().is_none_or(|it| it == own);
    if reference.kind == "Secret" && reference.group.is_empty() && is_own {
        return Ok(());
    }
    let message = format!(
        "an issuer keeps certificates in Secrets of namespace {own} only: certificateRefs[0] names another place"
    );
    refusal("InvalidCertificateRef", message)
}

/// The issuer, if objects of the owner's namespace may name it.
fn permitted<'a>(
    view: &View<'a>,
    owner: Owner<'_>,
    issuer: &ObjectRef,
) -> Result<&'a IssuerOutcome, Refusal> {
    let own = owner.reference.namespace.as_str();
    let Some(outcome) = view.issuer(issuer) else {
        return refusal("InvalidCertificateIssuer", format!("{issuer} not found"));
    };
    if !outcome.allowed.allows(&issuer.namespace, own, || view.namespace_labels(own)) {
        let message = format!("allowedNamespaces of {issuer} lets nobody of namespace {own} use it");
        return refusal("RefNotPermitted", message);
    }
    if outcome.plan.is_none() {
        let fault = outcome.fault.as_deref().unwrap_or("it can't be used");
        return refusal("InvalidCertificateIssuer", format!("{issuer}: {fault}"));
    }
    Ok(outcome)
}

/// The name to order.
fn name(
    view: &View<'_>,
    owner: Owner<'_>,
    judged: &Judged<'_>,
    issuer: &ObjectRef,
    outcome: &IssuerOutcome,
) -> Result<String, Refusal> {
    let name = match &judged.hostname {
        Some(HostPattern::Any) => {
            let message = format!(
                "a listener without hostname has no name that {issuer} could order, unless it has onDemand"
            );
            return refusal("InvalidCertificateRef", message);
        }
        Some(host) => host.to_string(),
        None => return refusal("InvalidCertificateRef", "the hostname can't be read".to_owned()),
    };
    let solvers = outcome.plan.iter().flat_map(|it| &it.solvers);
    if name.starts_with("*.") && !solvers.into_iter().any(|it| it.proves_wildcard(&name)) {
        let message = format!(
            "{issuer} has neither a DNS01 solver for {name}, without which no wildcard can be proven, nor onDemand"
        );
        return refusal("InvalidCertificateIssuer", message);
    }
    let own = owner.reference.namespace.as_str();
    let lets = |it: &&DomainRule| {
        it.covers(&name) && it.namespaces.allows(&issuer.namespace, own, || view.namespace_labels(own))
    };
    if !outcome.domains.is_empty() && !outcome.domains.iter().any(|it| lets(&it)) {
        let message = format!("domains of {issuer} does not let namespace {own} order {name}");
        return refusal("RefNotPermitted", message);
    }
    Ok(name)
}

/// Whether the Secret is somebody else's: it is served as it is, and never overwritten.
pub(crate) fn is_foreign(view: &View<'_>, automatic: &Automatic) -> bool {
    view.secret(&automatic.secret).is_some_and(|it| !it.is_issued)
}

/// Tells that an issuer leaves somebody else's Secret alone.
pub(crate) fn note_foreign(automatic: &Automatic, judged: &Judged<'_>, problems: &mut Problems) {
    problems.add(
        Severity::Note,
        format!("{}.tls.certificateRefs[0]", judged.field),
        format!(
            "{} was not made by {}, which leaves it alone: it is served as it is",
            automatic.secret, automatic.issuer
        ),
        "delete the Secret, or name another, to have a certificate ordered",
    );
}

//! Statuses of a Gateway and its ListenerSets: what was computed, with the number of attached routes and the ports
//! that the data plane could not bind.

use super::listener::{Judged, Refusal};
use super::plan::Infrastructure;
use super::staple::{StapleStanding, Told};
use crate::issuer::CertificateStanding;
use crate::problem::{Problem, Severity};
use crate::status::{
    Condition, ConditionStatus, GatewayAddress, GatewayStatus, ListenerSetStatus, ListenerStatus,
    RouteGroupKind, Status,
};
use sluice_crds::ObjectRef;
use sluice_ir::{Certificate, CertificateKey, ListenerKey};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a Gateway's statuses are made of.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) reference: ObjectRef,
    pub(crate) generation: Option<i64>,
    /// Whether the data plane runs somewhere in a cluster, so that only the facts tell how it stands.
    pub(crate) is_cluster: bool,
    /// What the data plane binds; empty in a cluster.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) listeners: Vec<ListenerBase>,
    pub(crate) sets: Vec<SetBase>,
    /// The Gateway as a whole is not accepted.
    pub(crate) refused: Option<Refusal>,
    /// What came of `tls.backend.clientCertificateRef`, if there is one.
    pub(crate) backend_certificate: Option<Result<(), Refusal>>,
    /// Clients without a valid certificate are let in though certificates are asked for.
    pub(crate) is_insecure: bool,
}

/// A ListenerSet that names the Gateway.
#[derive(Debug)]
pub(crate) struct SetBase {
    pub(crate) reference: ObjectRef,
    pub(crate) generation: Option<i64>,
    pub(crate) is_admitted: bool,
    pub(crate) listeners: Vec<ListenerBase>,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct ListenerBase {
    key: ListenerKey,
    name: String,
    field: String,
    supported_kinds: Vec<RouteGroupKind>,
    conditions: Vec<Condition>,
    is_served: bool,
    /// The Secret whose certificate is waited for, and whether clients are served meanwhile.
    waits_for: Option<(ObjectRef, bool)>,
    /// What it shows.
    certificates: Vec<Arc<Certificate>>,
    generation: Option<i64>,
}

/// What others know.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Routes that each listener accepted.
    pub(crate) attached: &'a BTreeMap<ListenerKey, u32>,
    /// Listeners that could not be bound, and why.
    pub(crate) bind_failures: &'a BTreeMap<ListenerKey, String>,
    /// In a cluster: what is known of each Gateway's infrastructure.
    pub(crate) infrastructure: &'a BTreeMap<ObjectRef, Infrastructure>,
    /// What certificates wait for, by Secret.
    pub(crate) waiting: &'a BTreeMap<ObjectRef, CertificateStanding>,
    /// How the OCSP responses of certificates that ask for one stand.
    pub(crate) staples: &'a BTreeMap<CertificateKey, StapleStanding>,
}

/// Why nothing of a Gateway is Programmed: reason and sentence. `None` when its data planes serve and are reached.
type Waiting = Option<(&'static str, String)>;

fn waiting(base: &Base, facts: &Facts<'_>) -> Waiting {
    if !base.is_cluster {
        return None;
    }
    let Some(known) = facts.infrastructure.get(&base.reference) else {
        return Some(("Pending", "what the Gateway runs on is being made".to_owned()));
    };
    match &known.address_problem {
        Some(problem) => Some((problem.reason.word(), problem.message.clone())),
        None if known.addresses.is_empty() => {
            Some(("AddressNotAssigned", "no address has been assigned yet".to_owned()))
        }
        None if !known.programmed => {
            Some(("Pending", "no data plane has acknowledged this configuration yet".to_owned()))
        }
        None => None,
    }
}

impl ListenerBase {
    pub(crate) fn new(it: &Judged<'_>, refused: Option<&Refusal>, generation: Option<i64>) -> Self {
        let is_served = refused.is_none() && it.is_served();
        Self {
            key: it.key.clone(),
            name: it.model.name.clone(),
            field: it.field.clone(),
            supported_kinds: it.supported_kinds(),
            conditions: conditions(it, refused, generation),
            is_served,
            waits_for: waits_for(it),
            certificates: it.certificates.clone(),
            generation,
        }
    }

    fn status(&self, facts: &Facts<'_>, waiting: &Waiting) -> ListenerStatus {
        let mut conditions = self.conditions.clone();
        self.tell_standing(facts, &mut conditions);
        if let Some(programmed) = conditions.iter_mut().find(|it| it.r#type == "Programmed") {
            if let Some(message) = self.bind_failure(facts) {
                let message = format!("the port could not be bound: {message}");
                *programmed = Condition::no("Programmed", "Invalid", message, self.generation);
            } else if let Some((_, message)) = waiting.as_ref().filter(|_| self.is_programmed(facts)) {
                *programmed = Condition::no("Programmed", "Pending", message.clone(), self.generation);
            }
        }
        conditions.extend(self.staples(facts).condition(self.generation));
        ListenerStatus {
            name: self.name.clone(),
            attached_routes: facts.attached.get(&self.key).copied().unwrap_or(0),
            conditions,
            supported_kinds: self.supported_kinds.clone(),
        }
    }

    /// What the certificate waits for, where more is known than that it does.
    fn tell_standing(&self, facts: &Facts<'_>, conditions: &mut [Condition]) {
        let Some(standing) = self.waits_for.as_ref().and_then(|it| facts.waiting.get(&it.0)) else { return };
        for condition in conditions.iter_mut().filter(|it| it.status == ConditionStatus::False) {
            if condition.r#type == "ResolvedRefs" && condition.reason == PENDING {
                condition.reason = standing.waiting_for.reason().into();
                condition.message.clone_from(&standing.message);
            } else if condition.r#type == "Programmed" && condition.reason == "Pending" {
                condition.message.clone_from(&standing.message);
            }
        }
    }

    /// What is known of OCSP responses, while it serves: else nobody asks for them.
    fn staples<'a>(&'a self, facts: &Facts<'a>) -> Told<'a> {
        Told::of(if self.is_served { &self.certificates } else { &[] }, facts.staples)
    }

    fn bind_failure<'a>(&self, facts: &Facts<'a>) -> Option<&'a String> {
        facts.bind_failures.get(&self.key).filter(|_| self.is_served)
    }

    fn is_programmed(&self, facts: &Facts<'_>) -> bool {
        let has_certificate = self.waits_for.as_ref().is_none_or(|it| it.1);
        self.is_served && has_certificate && self.bind_failure(facts).is_none()
    }

    /// Whether nothing about it is wrong, but perhaps its routes or the data plane.
    fn is_valid(&self) -> bool {
        self.conditions
            .iter()
            .all(|it| it.status == ConditionStatus::True || !matches!(it.r#type, "Accepted" | "ResolvedRefs"))
    }
}

/// Reason of ResolvedRefs while a certificate is waited for.
const PENDING: &str = "CertificatePending";

fn waits_for(it: &Judged<'_>) -> Option<(ObjectRef, bool)> {
    let secret = it.automatic.as_ref().filter(|_| it.waits)?.secret.clone();
    Some((secret, it.tls.as_ref().is_some_and(|it| it.self_signed_meanwhile)))
}

fn conditions(it: &Judged<'_>, refused: Option<&Refusal>, generation: Option<i64>) -> Vec<Condition> {
    let no = |r#type, refusal: &Refusal| {
        Condition::no(r#type, refusal.reason, refusal.message.clone(), generation)
    };
    let mut conditions = Vec::with_capacity(4);
    let accepted = it.conflicted.as_ref().or(it.refused.as_ref());
    conditions.push(match accepted {
        None => Condition::yes("Accepted", "Accepted", generation),
        Some(refusal) => no("Accepted", refusal),
    });
    if let Some(refusal) = &it.conflicted {
        conditions
            .push(Condition::yes("Conflicted", refusal.reason, generation).message(refusal.message.clone()));
    }
    if let Some(refusal) = &it.overlapping {
        let condition = Condition::yes("OverlappingTLSConfig", refusal.reason, generation);
        conditions.push(condition.message(refusal.message.clone()));
    }
    conditions.push(match (&it.conflicted, accepted.or(it.unresolved.as_ref()).or(refused)) {
        (Some(refusal), _) => no("Programmed", refusal),
        (None, Some(refusal))
            if it.is_served() && refused.is_none() && waits_for(it).is_some_and(|it| !it.1) =>
        {
            let reason = if refusal.reason == PENDING { "Pending" } else { "Invalid" };
            Condition::no("Programmed", reason, refusal.message.clone(), generation)
        }
        (None, _) if it.is_served() && refused.is_none() => {
            Condition::yes("Programmed", "Programmed", generation)
        }
        (None, Some(refusal)) => Condition::no("Programmed", "Invalid", refusal.message.clone(), generation),
        (None, None) => Condition::no("Programmed", "Invalid", "", generation),
    });
    conditions.push(match &it.unresolved {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs", generation),
        Some(refusal) => no("ResolvedRefs", refusal),
    });
    conditions
}

/// The statuses of the Gateway and of its sets, and the problems that the facts make.
pub(crate) fn render(base: &Base, facts: &Facts<'_>) -> (Vec<(ObjectRef, Status)>, Vec<Problem>) {
    let mut statuses = Vec::with_capacity(1 + base.sets.len());
    let mut problems = Vec::new();
    let mut attached_sets = 0;
    let waiting = waiting(base, facts);
    for set in &base.sets {
        let status = set_status(base, set, facts, &waiting);
        let is_accepted = |it: &Condition| it.r#type == "Accepted" && it.status == ConditionStatus::True;
        attached_sets += u32::from(status.conditions.iter().any(is_accepted));
        problems.extend(listener_problems(&set.reference, &set.listeners, facts));
        statuses.push((set.reference.clone(), Status::ListenerSet(Box::new(status))));
    }
    problems.extend(listener_problems(&base.reference, &base.listeners, facts));
    let status = GatewayStatus {
        addresses: addresses(base, facts),
        attached_listener_sets: (!base.sets.is_empty()).then_some(attached_sets),
        conditions: gateway_conditions(base, facts, &waiting),
        listeners: base.listeners.iter().map(|it| it.status(facts, &waiting)).collect(),
    };
    statuses.push((base.reference.clone(), Status::Gateway(Box::new(status))));
    (statuses, problems)
}

/// Addresses of the status, of which the API takes 16.
fn addresses(base: &Base, facts: &Facts<'_>) -> Vec<GatewayAddress> {
    let known = facts.infrastructure.get(&base.reference).filter(|_| base.is_cluster);
    let bound = base.addresses.iter().map(|it| GatewayAddress { r#type: "IPAddress", value: it.to_string() });
    let mut all: Vec<_> =
        bound.chain(known.into_iter().flat_map(|it| it.addresses.iter().cloned())).collect();
    all.truncate(16);
    all
}

fn gateway_conditions(base: &Base, facts: &Facts<'_>, waiting: &Waiting) -> Vec<Condition> {
    let generation = base.generation;
    if let Some(refusal) = &base.refused {
        return vec![
            Condition::no("Accepted", refusal.reason, refusal.message.clone(), generation),
            Condition::no("Programmed", "Invalid", refusal.message.clone(), generation),
        ];
    }
    let of_sets = || base.sets.iter().flat_map(|it| &it.listeners);
    let accepted = accepted(&base.listeners, generation);
    let bound = base.listeners.iter().chain(of_sets()).find_map(|it| it.bind_failure(facts));
    let programmed = if base.listeners.iter().chain(of_sets()).any(|it| it.is_programmed(facts)) {
        match waiting {
            None => Condition::yes("Programmed", "Programmed", generation),
            Some((reason, message)) => Condition::no("Programmed", reason, message.clone(), generation),
        }
    } else if let Some(message) = bound {
        Condition::no(
            "Programmed",
            "AddressNotUsable",
            format!("no port could be bound: {message}"),
            generation,
        )
    } else if let Some(waiting) = waiting_listeners(base) {
        Condition::no("Programmed", "Pending", waiting, generation)
    } else if base.listeners.is_empty() {
        Condition::no("Programmed", "NoResources", "the Gateway has no listener", generation)
    } else {
        Condition::no("Programmed", "Invalid", accepted.message.clone(), generation)
    };
    let mut conditions = vec![accepted, programmed];
    conditions.extend(base.backend_certificate.as_ref().map(|it| resolved_refs(base, it)));
    if base.is_insecure {
        let condition = Condition::yes("InsecureFrontendValidationMode", "ConfigurationChanged", generation);
        conditions.push(condition.message("clients without a valid certificate are let in"));
    }
    conditions
}

/// Names the listeners that wait for their certificate, if any do.
fn waiting_listeners(base: &Base) -> Option<String> {
    let all = base.listeners.iter().chain(base.sets.iter().flat_map(|it| &it.listeners));
    let names: Vec<&str> =
        all.filter(|it| it.is_served && it.waits_for.is_some()).map(|it| it.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("listeners that wait for their certificate: {}", names.join(", ")))
}

/// `ResolvedRefs` of a Gateway that names a certificate for backends: that reference, and in sum those of the
/// listeners.
fn resolved_refs(base: &Base, certificate: &Result<(), Refusal>) -> Condition {
    if let Err(refusal) = certificate {
        return Condition::no("ResolvedRefs", refusal.reason, refusal.message.clone(), base.generation);
    }
    let is_bad = |it: &&ListenerBase| {
        it.conditions.iter().any(|it| it.r#type == "ResolvedRefs" && it.status == ConditionStatus::False)
    };
    let bad: Vec<&str> = base.listeners.iter().filter(is_bad).map(|it| it.name.as_str()).collect();
    if bad.is_empty() {
        return Condition::yes("ResolvedRefs", "ResolvedRefs", base.generation);
    }
    let message = format!("listeners with references that are not resolved: {}", bad.join(", "));
    Condition::no("ResolvedRefs", "ListenersNotResolved", message, base.generation)
}

/// `Accepted` of a Gateway or ListenerSet from its listeners.
fn accepted(listeners: &[ListenerBase], generation: Option<i64>) -> Condition {
    let bad: Vec<&str> = listeners.iter().filter(|it| !it.is_valid()).map(|it| it.name.as_str()).collect();
    if bad.is_empty() {
        return Condition::yes("Accepted", "Accepted", generation);
    }
    let message = format!("listeners that are not valid: {}", bad.join(", "));
    if listeners.iter().any(|it| it.is_served || it.is_valid()) {
        Condition::yes("Accepted", "ListenersNotValid", generation).message(message)
    } else {
        Condition::no("Accepted", "ListenersNotValid", message, generation)
    }
}

fn set_status(base: &Base, set: &SetBase, facts: &Facts<'_>, waiting: &Waiting) -> ListenerSetStatus {
    let generation = set.generation;
    let both = |reason: &'static str, message: String| {
        vec![
            Condition::no("Accepted", reason, message.clone(), generation),
            Condition::no("Programmed", reason, message, generation),
        ]
    };
    let conditions = if !set.is_admitted {
        both("NotAllowed", format!("{} lets no ListenerSet of this namespace in", base.reference))
    } else if base.refused.is_some() {
        both("ParentNotAccepted", format!("{} is not accepted", base.reference))
    } else {
        let accepted = accepted(&set.listeners, generation);
        let programmed = if accepted.status == ConditionStatus::False {
            Condition::no("Programmed", "ListenersNotValid", accepted.message.clone(), generation)
        } else if set.listeners.iter().any(|it| it.is_programmed(facts)) {
            match waiting {
                None => Condition::yes("Programmed", "Programmed", generation),
                Some((_, message)) => Condition::no("Programmed", "Pending", message.clone(), generation),
            }
        } else {
            let waits = set.listeners.iter().any(|it| it.is_served && it.waits_for.is_some());
            let (reason, message) = match waits {
                true => ("Pending", "no listener has its certificate yet"),
                false => ("Invalid", "no listener is served"),
            };
            Condition::no("Programmed", reason, message, generation)
        };
        vec![accepted, programmed]
    };
    let listeners = set.listeners.iter().map(|it| it.status(facts, waiting)).collect();
    ListenerSetStatus { conditions, listeners }
}

/// What the facts say against listeners: ports that could not be bound, certificates without an OCSP response.
fn listener_problems(object: &ObjectRef, listeners: &[ListenerBase], facts: &Facts<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for it in listeners {
        if let Some(message) = it.bind_failure(facts) {
            problems.push(Problem {
                object: object.clone(),
                field: format!("{}.port", it.field),
                severity: Severity::Error,
                message: format!("the port could not be bound: {message}"),
                next_step: "free the port, use another, or set --port-offset".to_owned(),
            });
        }
        problems.extend(it.staples(facts).problems().map(|(message, next_step)| Problem {
            object: object.clone(),
            field: format!("{}.tls.certificateRefs", it.field),
            severity: Severity::Warning,
            message,
            next_step: next_step.to_owned(),
        }));
    }
    problems
}

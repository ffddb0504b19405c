//! One Gateway with its ListenerSets: the IR of its listeners, what it offers to routes, and the base of its statuses.

use super::claims::{self, Lost};
use super::class::{self, Verdict};
use super::issuer::{self, Order, Orders, Owner};
use super::listener::{self, Judged, Parent, Refusal};
use super::plan::{self, GatewayPlan, Management};
use super::render::{Base, ListenerBase, SetBase};
use super::{backend_certificate, conflicts, overlaps, parameters, sets, workload};
use crate::authentication;
use crate::authorization;
use crate::issuer::OnDemandListener;
use crate::model::{GatewayModel, ParametersModel, ParametersReference, SetModel, TrafficModel};
use crate::problem::{Problem, Problems, Severity};
use crate::route::key_of;
use crate::telemetry;
use crate::traffic;
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{BackendKey, Certificate, Gateway, GatewayKey, Listener, Origin, Settings, TrafficSettings};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a Gateway makes.
#[derive(Debug)]
pub(crate) struct GatewayOutput {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) certificates: Vec<Arc<Certificate>>,
    /// Names that its issuers are to order.
    pub(crate) orders: Vec<Order>,
    /// Listeners whose names handshakes ask for.
    pub(crate) on_demand: Vec<OnDemandListener>,
    /// Of the Gateway itself and of each set.
    pub(crate) parents: Vec<(ObjectRef, Arc<Parent>)>,
    pub(crate) base: Base,
    /// What it needs in a cluster; `None` in a folder.
    pub(crate) plan: Option<GatewayPlan>,
    pub(crate) problems: Vec<Problem>,
}

impl GatewayOutput {
    /// The backends that its policies and those of its listeners call, as often as they name them.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        let of_listeners = self.listeners.iter().filter_map(|it| it.traffic.as_deref());
        let all = self.gateway.traffic.as_deref().into_iter().chain(of_listeners);
        let asked = self.gateway.authorization.iter().flat_map(|it| it.targets());
        all.flat_map(TrafficSettings::targets).chain(asked).filter_map(key_of)
    }
}

/// The Secrets that a Gateway and its sets name.
pub(crate) fn secrets(gateway: &GatewayModel, sets: &[&Arc<SetModel>]) -> Vec<ObjectRef> {
    let own = gateway.listeners.iter().map(|it| (owner_of(gateway), it));
    let theirs = sets.iter().flat_map(|set| set.listeners.iter().map(|it| (owner_of_set(set), it)));
    let listeners: Vec<_> = own.chain(theirs).collect();
    let named = listeners.iter().flat_map(|(owner, it)| {
        it.tls.iter().flat_map(|it| &it.certificates).map(|it| (owner.reference, it.clone()))
    });
    let derived =
        listeners.iter().filter_map(|(owner, it)| Some((owner.reference, issuer::derived(*owner, it)?)));
    let shown = gateway.backend_certificate.iter().map(|it| (&gateway.meta.reference, it.clone()));
    named.chain(derived).chain(shown).filter_map(|(owner, it)| listener::secret(owner, &it)).collect()
}

fn owner_of(gateway: &GatewayModel) -> Owner<'_> {
    Owner { reference: &gateway.meta.reference, issuer: gateway.issuer.as_deref() }
}

fn owner_of_set(set: &SetModel) -> Owner<'_> {
    Owner { reference: &set.meta.reference, issuer: set.issuer.as_deref() }
}

/// Computes a Gateway; `None` with a note when it is not ours.
pub(crate) fn compute(view: &View<'_>, model: &GatewayModel) -> Result<GatewayOutput, Vec<Problem>> {
    let reference = &model.meta.reference;
    let mut problems = Problems::of(reference);
    let class_parameters = match class::verdict(view, &model.class) {
        Verdict::Ours { parameters, is_implied } => {
            if is_implied {
                problems.add(
                    Severity::Note,
                    "spec.gatewayClassName",
                    "no GatewayClass \"sluice\" is here; the Gateway is served all the same",
                    "a cluster needs the class",
                );
            }
            parameters
        }
        Verdict::Foreign(message) => {
            let next_step = "use gatewayClassName: sluice, or a class of controller";
            let next_step = format!("{next_step} {}", view.options().controller_name);
            problems.add(Severity::Note, "spec.gatewayClassName", message, next_step);
            return Err(problems.into_list());
        }
    };
    notes(view, model, &mut problems);
    let mut refused = None;
    let (settings, management) = settings(view, model, class_parameters, &mut problems, &mut refused);
    if refused.is_none() {
        refused = addresses(model, &mut problems);
    }
    let certificate = backend_certificate::judge(view, model, &mut problems);
    let own = (owner_of(model), model.listeners.as_slice());
    let mut judged = vec![judge_all(view, model, own, &mut problems)];
    let mut set_problems = Vec::new();
    let mut admitted = Vec::new();
    let mut excluded = Vec::new();
    for set in view.sets_of(reference).into_iter().filter(|it| it.names_gateway) {
        if sets::is_admitted(view, model, set) {
            let mut problems = Problems::of(&set.meta.reference);
            let own = (owner_of_set(set), set.listeners.as_slice());
            judged.push(judge_all(view, model, own, &mut problems));
            admitted.push(set);
            set_problems.push(problems);
        } else {
            excluded.push(set);
        }
    }
    conflicts::mark(&mut judged);
    if let Some(lost) = view.lost(reference) {
        mark_lost(&mut judged, lost);
    }
    let is_cluster = !view.options().standalone;
    if is_cluster {
        mark_blocked(&mut judged);
    }
    overlaps::mark(&mut judged);
    let mut all_problems = vec![&mut problems];
    all_problems.extend(set_problems.iter_mut());
    for (listeners, problems) in judged.iter().zip(all_problems) {
        report_conflicts(listeners, is_cluster, problems);
    }
    let mut list = problems.into_list();
    list.extend(set_problems.into_iter().flat_map(Problems::into_list));
    list.extend(excluded.iter().map(|set| exclusion(model, set)));
    let plan = is_cluster.then(|| GatewayPlan {
        reference: reference.clone(),
        uid: model.uid.clone(),
        generation: model.meta.generation,
        class: model.class.clone(),
        is_accepted: refused.is_none(),
        labels: model.labels.clone(),
        annotations: model.annotations.clone(),
        addresses: plan::requested(&model.addresses),
        ports: plan::ports(&judged),
        management,
    });
    let all = (judged.as_slice(), admitted.as_slice(), excluded.as_slice());
    let assembled = assemble(view, model, settings, refused, is_cluster, all);
    let mut output = GatewayOutput { plan, problems: list, ..assembled };
    output.base.is_insecure = model.client_tls.is_insecure();
    if let Some(certificate) = certificate {
        show_to_backends(&mut output, certificate);
    }
    Ok(output)
}

/// Delivers the certificate that backends are shown, and notes in the status what came of it.
fn show_to_backends(output: &mut GatewayOutput, certificate: Result<Arc<Certificate>, Refusal>) {
    if let (Ok(certificate), None) = (&certificate, &output.base.refused) {
        Arc::make_mut(&mut output.gateway).backend_certificate = Some(certificate.key.clone());
        if !output.certificates.iter().any(|it| it.key == certificate.key) {
            output.certificates.push(certificate.clone());
        }
    }
    output.base.backend_certificate = Some(certificate.map(|_| ()));
}

/// Judges the listeners of an object; a name that was used before is left out, as no status could tell them apart.
fn judge_all<'a>(
    view: &View<'_>,
    gateway: &GatewayModel,
    (owner, listeners): (Owner<'_>, &'a [crate::model::ListenerModel]),
    problems: &mut Problems,
) -> Vec<Judged<'a>> {
    let mut judged: Vec<Judged<'a>> = Vec::with_capacity(listeners.len());
    for (index, model) in listeners.iter().enumerate() {
        if judged.iter().any(|it| it.model.name == model.name) {
            problems.error(
                format!("spec.listeners[{index}].name"),
                format!("{:?} names an earlier listener too; this one is ignored", model.name),
                "give each listener its own name",
            );
            continue;
        }
        judged.push(listener::judge(view, gateway, owner, (index, model), problems));
    }
    judged
}

/// What the Gateway asks for that has no effect.
fn notes(view: &View<'_>, model: &GatewayModel, problems: &mut Problems) {
    if view.options().standalone && !(model.labels.is_empty() && model.annotations.is_empty()) {
        problems.add(
            Severity::Note,
            "spec.infrastructure",
            "labels and annotations have no effect here: there is no infrastructure to put them on",
            "",
        );
    }
    if model.has_default_scope {
        problems.add(
            Severity::Note,
            "spec.defaultScope",
            "default Gateways are not supported and have no effect",
            "",
        );
    }
}

/// The settings, and what runs it: the Gateway's parameters above the class's, above the defaults.
fn settings(
    view: &View<'_>,
    model: &GatewayModel,
    class_parameters: Option<&ParametersReference>,
    problems: &mut Problems,
    refused: &mut Option<Refusal>,
) -> (Settings, Management) {
    let namespace = model.meta.reference.namespace.as_str();
    let of_class = ("spec.gatewayClassName", class_parameters.map(|it| parameters::find(view, it, None)));
    let own = model.parameters.as_ref().map(|it| parameters::find(view, it, Some(namespace)));
    let mut read = (Settings::standard(), Management::Managed(Box::default()));
    let mut below: Option<Arc<ParametersModel>> = None;
    for (field, found) in [of_class, ("spec.infrastructure.parametersRef", own)] {
        let Some(found) = found else { continue };
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                problems.error(field, failure.message.clone(), failure.next_step);
                *refused = Some(Refusal { reason: "InvalidParameters", message: failure.message });
                break;
            }
        };
        let merged = match &below {
            Some(below) => Arc::new(ParametersModel {
                reference: found.reference.clone(),
                spec: found.spec.over(&below.spec),
            }),
            None => found.clone(),
        };
        let (settings, mut wrong) = parameters::settings(&merged);
        let (management, wrong_there) = workload::read(&merged);
        wrong.extend(wrong_there);
        // Who runs the Gateway is known all the same, so that its data planes are still let in.
        read.1 = management;
        if let Some(first) = wrong.first() {
            let message = format!("{}: {}: {}", first.object, first.field, first.message);
            problems.error(field, message.clone(), first.next_step.clone());
            *refused = Some(Refusal { reason: "InvalidParameters", message });
            read.0 = Settings::standard();
            break;
        }
        read.0 = settings;
        if view.options().standalone && workload::is_set(&found.spec) {
            problems.add(
                Severity::Note,
                field,
                format!("what {} says of its deployment has no effect here", found.reference),
                "",
            );
        }
        below = Some(merged);
    }
    read
}

/// `spec.addresses`: only IP addresses can be bound.
fn addresses(model: &GatewayModel, problems: &mut Problems) -> Option<Refusal> {
    for (index, address) in model.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let message = if address.kind != "IPAddress" {
            format!("addresses of type {} are not supported", address.kind)
        } else if !address.value.is_empty() && address.value.parse::<std::net::IpAddr>().is_err() {
            format!("{:?} is no IP address", address.value)
        } else {
            continue;
        };
        problems.error(field, message.clone(), "use type IPAddress and an address of this host");
        return Some(Refusal { reason: "UnsupportedAddress", message });
    }
    None
}

/// Listeners on ports that an older Gateway has.
fn mark_lost(groups: &mut [Vec<Judged<'_>>], lost: &Lost) {
    for listener in groups.iter_mut().flatten() {
        let Some(winner) = listener.place().and_then(|it| lost.get(&it)) else { continue };
        listener.refused.get_or_insert_with(|| Refusal {
            reason: "PortUnavailable",
            message: format!("port {} is used by the older {winner}", listener.model.port),
        });
    }
}

/// Listeners on ports that one data plane in a cluster can't have.
fn mark_blocked(groups: &mut [Vec<Judged<'_>>]) {
    let blocked = plan::blocked(groups);
    for listener in groups.iter_mut().flatten() {
        let Some(message) = listener.place().and_then(|it| blocked.get(&it)) else { continue };
        let message = message.clone();
        listener.refused.get_or_insert(Refusal { reason: "PortUnavailable", message });
    }
}

/// Problems that only the listeners together show.
fn report_conflicts(listeners: &[Judged<'_>], is_cluster: bool, problems: &mut Problems) {
    for it in listeners {
        let next_step = "use another port or hostname, or merge the listeners";
        if let Some(refusal) = &it.conflicted {
            problems.error(it.field.clone(), refusal.message.clone(), next_step);
        }
        if let Some(refusal) = it.refused.as_ref().filter(|it| it.reason == "PortUnavailable") {
            let next_step = match is_cluster {
                true => "use another port",
                false => "use another port, or give both Gateways their own spec.addresses",
            };
            problems.error(format!("{}.port", it.field), refusal.message.clone(), next_step);
        }
    }
}

fn exclusion(gateway: &GatewayModel, set: &SetModel) -> Problem {
    Problem {
        object: set.meta.reference.clone(),
        field: "spec.parentRef".to_owned(),
        severity: Severity::Error,
        message: format!("{} lets no ListenerSet of this namespace in", gateway.meta.reference),
        next_step: "set spec.allowedListeners.namespaces of the Gateway".to_owned(),
    }
}

/// Listeners of the Gateway and of each set; the sets that are let in; those that are not.
type Groups<'a> = (&'a [Vec<Judged<'a>>], &'a [&'a Arc<SetModel>], &'a [&'a Arc<SetModel>]);

fn assemble(
    view: &View<'_>,
    model: &GatewayModel,
    settings: Settings,
    refused: Option<Refusal>,
    is_cluster: bool,
    (judged, admitted, excluded): Groups<'_>,
) -> GatewayOutput {
    let reference = &model.meta.reference;
    let key = GatewayKey::new(format!("{}/{}", reference.namespace, reference.name));
    // In a cluster the addresses are those of the Service; the data plane binds its pod's.
    let addresses = if is_cluster { Vec::new() } else { claims::bound_addresses(model) };
    let mut listeners = Vec::new();
    let mut certificates: BTreeMap<_, Arc<Certificate>> = BTreeMap::new();
    let mut parents = Vec::new();
    let mut on_demand = Vec::new();
    let owners = std::iter::once(reference).chain(admitted.iter().map(|it| &it.meta.reference));
    for (owner, group) in owners.zip(judged) {
        let mut offers = Vec::with_capacity(group.len());
        let policies = view.traffic_of(owner);
        for it in group {
            let is_served = refused.is_none() && it.is_served();
            offers.push(it.offer(is_served));
            if let Some(mut listener) = ir_listener(it, owner, &key, &addresses).filter(|_| is_served) {
                listener.traffic = listener_traffic(view, &policies, owner, &it.model.name);
                listeners.push(Arc::new(listener));
                certificates.extend(it.certificates.iter().map(|it| (it.key.clone(), it.clone())));
                on_demand.extend(asks(it, owner, reference));
            }
        }
        parents.push((owner.clone(), Arc::new(Parent { gateway: reference.clone(), listeners: offers })));
    }
    // A set that is not let in is ours all the same: its routes are told that it offers nothing.
    parents.extend(excluded.iter().map(|set| {
        (set.meta.reference.clone(), Arc::new(Parent { gateway: reference.clone(), listeners: Vec::new() }))
    }));
    let bases = |group: Option<&Vec<Judged<'_>>>, generation| {
        group.into_iter().flatten().map(|it| ListenerBase::new(it, refused.as_ref(), generation)).collect()
    };
    let mut sets: Vec<SetBase> = admitted
        .iter()
        .enumerate()
        .map(|(index, set)| SetBase {
            reference: set.meta.reference.clone(),
            generation: set.meta.generation,
            is_admitted: true,
            listeners: bases(judged.get(index + 1), set.meta.generation),
        })
        .collect();
    sets.extend(excluded.iter().map(|set| SetBase {
        reference: set.meta.reference.clone(),
        generation: set.meta.generation,
        is_admitted: false,
        listeners: Vec::new(),
    }));
    GatewayOutput {
        gateway: Arc::new(Gateway {
            key,
            origin: Origin::new("Gateway", reference.namespace.clone(), reference.name.clone()),
            settings: Settings { paths: view.mesh().paths(), ..settings },
            backend_certificate: None,
            ticket_secrets: Vec::new(),
            traffic: traffic::settings(view, &view.traffic_of(reference), reference, None),
            authorization: authorization::for_gateway(view, reference, &model.class),
            authentication: authentication::for_gateway(view, reference, &model.class),
            telemetry: telemetry::for_gateway(view, reference, &model.class),
        }),
        listeners,
        certificates: certificates.into_values().collect(),
        orders: if refused.is_none() { orders(judged) } else { Vec::new() },
        on_demand,
        parents,
        base: Base {
            reference: reference.clone(),
            generation: model.meta.generation,
            is_cluster,
            addresses,
            listeners: bases(judged.first(), model.meta.generation),
            sets,
            refused,
            backend_certificate: None,
            is_insecure: false,
        },
        plan: None,
        problems: Vec::new(),
    }
}

/// What accepted listeners may have ordered, sorted.
fn orders(judged: &[Vec<Judged<'_>>]) -> Vec<Order> {
    let accepted = judged.iter().flatten().filter(|it| it.is_served());
    let mut orders: Vec<_> = accepted
        .filter_map(|it| {
            let automatic = it.automatic.as_ref()?;
            let (secret, issuer) = (automatic.secret.clone(), automatic.issuer.clone());
            match automatic.orders.as_ref().ok()? {
                Orders::Name(name) => {
                    Some(Order { secret, issuer, name: name.clone(), is_there: automatic.is_there })
                }
                Orders::OnDemand(_) => None,
            }
        })
        .collect();
    orders.sort();
    orders
}

/// The listener, if handshakes ask for its names.
fn asks(it: &Judged<'_>, owner: &ObjectRef, gateway: &ObjectRef) -> Option<OnDemandListener> {
    let automatic = it.automatic.as_ref()?;
    let Ok(Orders::OnDemand(names)) = &automatic.orders else { return None };
    Some(OnDemandListener {
        key: automatic.on_demand_key(owner)?,
        gateway: gateway.clone(),
        hostname: it.hostname.clone()?,
        issuer: automatic.issuer.clone(),
        namespace: owner.namespace.to_string(),
        names: names.clone(),
    })
}

fn ir_listener(
    it: &Judged<'_>,
    owner: &ObjectRef,
    gateway: &GatewayKey,
    addresses: &[std::net::IpAddr],
) -> Option<Listener> {
    Some(Listener {
        key: it.key.clone(),
        origin: Origin::new(owner.kind.name(), owner.namespace.clone(), owner.name.clone())
            .section(it.model.name.clone()),
        gateway: gateway.clone(),
        addresses: addresses.to_vec(),
        networks: Vec::new(),
        port: it.port?,
        protocol: it.protocol?.to_ir(it.tls.clone())?,
        hostname: it.hostname.clone()?,
        destination: None,
        traffic: None,
    })
}

/// What TrafficPolicies set for a listener: what names it above what names its whole ListenerSet. What names its whole
/// Gateway travels with the Gateway.
fn listener_traffic(
    view: &View<'_>,
    policies: &[&Arc<TrafficModel>],
    owner: &ObjectRef,
    name: &str,
) -> Option<Box<TrafficSettings>> {
    let own = traffic::settings(view, policies, owner, Some(name));
    let of_set = match owner.kind {
        Kind::ListenerSet => traffic::settings(view, policies, owner, None),
        _ => None,
    };
    TrafficSettings::of_levels([own.as_deref(), of_set.as_deref()]).map(Box::new)
}

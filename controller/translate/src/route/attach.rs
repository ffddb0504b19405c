//! Which listeners take a route, and for which hosts.

use crate::gateway::{Offer, Parent};
use crate::model::{Meta, kind_name};
use crate::status::ParentRef;
use crate::view::View;
use sluice_crds::{GATEWAY_API_GROUP, ISTIO_GROUP, Kind, ObjectRef};
use sluice_ir::{HostPattern, ListenerKey};
use std::sync::Arc;

/// What a parentRef names.
#[derive(Debug)]
pub(crate) enum Named {
    /// A Gateway or ListenerSet.
    Parent(ObjectRef),
    /// A ServiceEntry.
    Entry(ObjectRef),
    /// A Service.
    Service(ObjectRef),
    /// Something that routes can't attach to.
    OtherKind(String),
}

/// What of a route decides where it attaches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant<'a> {
    pub(crate) meta: &'a Meta,
    /// Empty: every host.
    pub(crate) hostnames: &'a Arc<[HostPattern]>,
    /// Its `parentRefs`.
    pub(crate) parents: &'a [Arc<ParentRef>],
}

/// A listener that took the route.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) listener: ListenerKey,
    /// The Gateway that counts its routes; `None`: a destination of the mesh.
    pub(crate) gateway: Option<ObjectRef>,
    pub(crate) hostnames: Arc<[HostPattern]>,
    pub(crate) is_served: bool,
}

/// Why none did: reason and message of Accepted=False.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Part of the parentRef.
    pub(crate) part: &'static str,
}

/// Reads a parentRef of an object in `namespace`.
pub(crate) fn named(parent: &ParentRef, namespace: &str) -> Named {
    let group = parent.group.as_deref().unwrap_or(GATEWAY_API_GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let namespace = parent.namespace.as_deref().unwrap_or(namespace);
    match (group, kind) {
        (GATEWAY_API_GROUP, "Gateway") => {
            Named::Parent(ObjectRef::new(Kind::Gateway, namespace, &parent.name))
        }
        (GATEWAY_API_GROUP, "ListenerSet") => {
            Named::Parent(ObjectRef::new(Kind::ListenerSet, namespace, &parent.name))
        }
        (ISTIO_GROUP, "ServiceEntry") => {
            Named::Entry(ObjectRef::new(Kind::ServiceEntry, namespace, &parent.name))
        }
        ("", "Service") => Named::Service(ObjectRef::new(Kind::Service, namespace, &parent.name)),
        (group, kind) => Named::OtherKind(kind_name(kind, group)),
    }
}

/// The Services and ServiceEntries among some parents of a route in `namespace`.
pub(crate) fn destinations<'a>(
    parents: &'a [Arc<ParentRef>],
    namespace: &'a str,
) -> impl Iterator<Item = ObjectRef> + 'a {
    // Most routes have none: a look at the word is enough.
    let may_be = parents.iter().filter(|it| matches!(it.kind.as_deref(), Some("Service" | "ServiceEntry")));
    may_be.filter_map(move |it| match named(it, namespace) {
        Named::Service(reference) | Named::Entry(reference) => Some(reference),
        Named::Parent(_) | Named::OtherKind(_) => None,
    })
}

/// The listeners of `parent` that take the route; `None` when the parent is not ours or not there.
pub(crate) fn listeners(
    view: &View<'_>,
    route: Applicant<'_>,
    written: &ParentRef,
    parent: &ObjectRef,
) -> Option<Result<Vec<Taken>, Refused>> {
    let offered = view.parent(parent)?;
    let named = match meant(written, parent, offered) {
        Ok(named) => named,
        Err(refused) => return Some(Err(refused)),
    };
    let namespace = route.meta.reference.namespace.as_str();
    let allowed: Vec<_> = named
        .iter()
        .filter(|it| it.kinds.contains(&route.meta.reference.kind))
        .filter(|it| it.namespaces.allows(&parent.namespace, namespace, || view.namespace_labels(namespace)))
        .collect();
    if allowed.is_empty() {
        let names: Vec<&str> = named.iter().map(|it| it.name.as_str()).collect();
        return Some(Err(Refused {
            reason: "NotAllowedByListeners",
            message: format!(
                "no listener of {parent} takes {}s of namespace {namespace} (listeners: {})",
                route.meta.reference.kind,
                names.join(", ")
            ),
            part: "",
        }));
    }
    let taken: Vec<Taken> = allowed
        .iter()
        .filter_map(|it| {
            let hostnames = intersection(&it.hostname, route.hostnames);
            (!hostnames.is_empty()).then(|| Taken {
                listener: it.key.clone(),
                gateway: Some(offered.gateway.clone()),
                hostnames,
                is_served: it.is_served,
            })
        })
        .collect();
    if taken.is_empty() {
        let hosts: Vec<String> = allowed.iter().map(|it| it.hostname.to_string()).collect();
        return Some(Err(Refused {
            reason: "NoMatchingListenerHostname",
            message: format!(
                "no hostname of the route fits a listener of {parent} (hosts: {})",
                hosts.join(", ")
            ),
            part: "",
        }));
    }
    Some(Ok(taken))
}

/// The listeners of a parent that a parentRef means.
fn meant<'a>(
    written: &ParentRef,
    parent: &ObjectRef,
    offered: &'a Parent,
) -> Result<Vec<&'a Offer>, Refused> {
    let all = offered.listeners.iter();
    let named: Vec<_> = all
        .filter(|it| written.section_name.as_ref().is_none_or(|name| *name == it.name))
        .filter(|it| written.port.is_none_or(|port| port == it.port))
        .collect();
    if named.is_empty() { Err(no_match(written, parent, offered)) } else { Ok(named) }
}

fn no_match(written: &ParentRef, parent: &ObjectRef, offered: &Parent) -> Refused {
    if offered.listeners.is_empty() {
        let message = format!("{parent} offers no listener");
        return Refused { reason: "NoMatchingParent", message, part: "" };
    }
    let known: Vec<String> =
        offered.listeners.iter().map(|it| format!("{} on {}", it.name, it.port)).collect();
    let known = known.join(", ");
    let (asked, part) = match (&written.section_name, written.port) {
        (Some(name), Some(port)) => (format!("listener {name:?} on port {port}"), "sectionName"),
        (Some(name), None) => (format!("listener {name:?}"), "sectionName"),
        (None, Some(port)) => (format!("listener on port {port}"), "port"),
        (None, None) => ("listener".to_owned(), ""),
    };
    Refused {
        reason: "NoMatchingParent",
        message: format!("{parent} has no {asked} (listeners: {known})"),
        part,
    }
}

/// The hosts for which the route answers on a listener; a route without hostnames takes the listener's.
fn intersection(listener: &HostPattern, route: &Arc<[HostPattern]>) -> Arc<[HostPattern]> {
    if route.is_empty() {
        return Arc::from([listener.clone()]);
    }
    let mut hosts: Vec<HostPattern> = route.iter().filter_map(|it| listener.intersection(it)).collect();
    hosts.sort();
    hosts.dedup();
    // Mostly the route's own list: it is shared.
    if *hosts == **route { route.clone() } else { hosts.into() }
}

//! Whose a host is when several objects name it: a Service's, then the entry of the client's own namespace, then the
//! oldest entry that it sees (Istio).

use crate::model::EntryModel;
use crate::view::View;
use std::sync::Arc;

/// A host of an entry that belongs, wholly or in part, to another object.
#[derive(Debug)]
pub(super) struct Lost {
    /// Position in `spec.hosts`.
    pub(super) index: usize,
    /// Whether nobody at all reaches the host by this entry.
    pub(super) is_whole: bool,
    pub(super) message: String,
}

/// The hosts that the entry loses.
pub(super) fn lost(view: &View<'_>, entry: &EntryModel) -> Vec<Lost> {
    let hosts = entry.hosts.iter().enumerate();
    hosts.filter_map(|(index, host)| of_host(view, entry, index, host)).collect()
}

fn of_host(view: &View<'_>, entry: &EntryModel, index: usize, host: &str) -> Option<Lost> {
    if let Some(service) = view.domain().service(host).filter(|it| view.service(it).is_some()) {
        let message = format!("{host:?} is {service}: only subjectAltNames have an effect");
        return Some(Lost { index, is_whole: true, message });
    }
    let own = &entry.meta.reference;
    let all = view.entries_of(host);
    let before: Vec<&Arc<EntryModel>> = all.into_iter().take_while(|it| it.meta.reference != *own).collect();
    let ports = |other: &EntryModel| {
        let numbers = entry.ports.iter().map(|it| it.number);
        let both = numbers.filter(|it| other.ports.iter().any(|other| other.number == *it));
        both.map(|it| it.to_string()).collect::<Vec<_>>()
    };
    // In its own namespace ports of several entries are put together; the oldest has each.
    let at_home = before.iter().find(|it| {
        it.meta.reference.namespace == own.namespace
            && it.is_visible_in(&own.namespace)
            && !ports(it).is_empty()
    });
    if let Some(rival) = at_home {
        let ports = ports(rival);
        let is_whole = ports.len() == entry.ports.len();
        let (rival, ports) = (&rival.meta.reference, ports.join(", "));
        let message = format!("{rival} comes before for {host:?} (ports: {ports})");
        return Some(Lost { index, is_whole, message });
    }
    let elsewhere = before.iter().find(|it| it.is_exported() && it.meta.reference.namespace != own.namespace);
    let rival = elsewhere.filter(|_| entry.is_exported())?;
    let (rival, home) = (&rival.meta.reference, &own.namespace);
    let message = format!("{rival} comes before for {host:?} outside of namespace {home}");
    Some(Lost { index, is_whole: false, message })
}

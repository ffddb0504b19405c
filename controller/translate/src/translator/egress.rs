//! The part of the translator that runs what ServiceEntries let forward proxies reach.

use super::Translator;
use crate::egress;
use crate::gateway::GatewayOutput;
use crate::reads::{Key, Node};
use crate::view::View;
use sluice_crds::{Name, ObjectRef};
use sluice_ir::{ListenerKey, ListenerProtocol, Resource, ResourceKey};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Translator {
    /// Takes over which listeners of a Gateway are forward proxies.
    pub(super) fn install_forward_proxies(
        &mut self,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let (old, new) = (forward_proxies(old), forward_proxies(new));
        if old == new {
            return;
        }
        for key in old.keys() {
            self.state.forward_proxies.remove(key);
        }
        self.state.forward_proxies.extend(new);
        self.mark_readers(&Key::ForwardProxies);
    }

    pub(super) fn run_egress(&mut self, node: &Node, reference: &ObjectRef) {
        let entry = self.state.store.entries.get(reference);
        let ids = entry.map(|it| egress::backend_ids(it, &self.state.forward_proxies)).unwrap_or_default();
        let ids = self.prepare_backends(ids);
        let view = View::new(&self.state);
        let is_there = view.entry(reference).is_some();
        let (ways, problems) = egress::compute(&view, reference);
        let reads = if is_there { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        self.drop_unread(&ids);
        self.output.set_problems(node, problems);
        let old = self.egress.remove(reference).unwrap_or_default();
        if old != ways {
            self.count_users(old.backends(), ways.backends());
            let gone = old.requests.iter().filter(|it| !ways.requests.iter().any(|new| new.key == it.key));
            gone.for_each(|it| self.output.remove(ResourceKey::Route(it.key.clone())));
            let gone = old.tunnels.iter().filter(|it| !ways.tunnels.iter().any(|new| new.key == it.key));
            gone.for_each(|it| self.output.remove(ResourceKey::StreamRoute(it.key.clone())));
            for route in &ways.requests {
                self.output.put(Resource::Route(Arc::new(route.clone())));
            }
            for route in &ways.tunnels {
                self.output.put(Resource::StreamRoute(Arc::new(route.clone())));
            }
        }
        if !(ways.requests.is_empty() && ways.tunnels.is_empty()) {
            self.egress.insert(reference.clone(), ways);
        }
    }
}

/// The forward proxies among the listeners of a Gateway, each with the namespace of its Gateway or ListenerSet.
fn forward_proxies(output: Option<&GatewayOutput>) -> BTreeMap<ListenerKey, Name> {
    let listeners = output.into_iter().flat_map(|it| &it.listeners);
    let proxies = listeners.filter(|it| it.protocol == ListenerProtocol::ForwardProxy);
    proxies.map(|it| (it.key.clone(), Name::from(it.origin.namespace.clone()))).collect()
}

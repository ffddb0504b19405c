//! From routes to the tables of their listeners.

use super::Compiler;
use crate::snapshot::rule;
use crate::snapshot::runtime::{ListenerRuntime, RouteRuntime};
use crate::snapshot::touched::Touched;
use ahash::{AHashMap, AHashSet};
use sluice_ir as ir;
use sluice_route::{RouteEntry, RouteTable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Routes that were compiled for a delta.
pub(super) type Fresh = AHashMap<ir::RouteKey, Arc<RouteRuntime>>;

#[derive(Default)]
struct Edits {
    upserts: Vec<RouteEntry<RouteRuntime>>,
    removals: Vec<ir::RouteKey>,
}

impl Compiler {
    pub(super) fn compile_routes(&self, keys: &BTreeSet<ir::RouteKey>) -> Fresh {
        let routes = keys.iter().filter_map(|key| self.snapshot.routes.get(key));
        routes.map(|route| (route.key.clone(), self.compile_route(route))).collect()
    }

    fn compile_route(&self, route: &Arc<ir::Route>) -> Arc<RouteRuntime> {
        Arc::new(rule::compile(route, self.gateway_of(route), &self.backends, &self.levels()))
    }

    /// The Gateway that serves a route; the first where there are several.
    pub(super) fn gateway_of(&self, route: &ir::Route) -> ir::GatewayKey {
        let mut listeners =
            route.attachments.iter().filter_map(|it| self.snapshot.listeners.get(&it.listener));
        listeners.next().map_or_else(|| ir::GatewayKey::new(""), |listener| listener.gateway.clone())
    }

    /// The compiled form of a route: the one of this delta, else that of the tables.
    fn compiled(&self, route: &Arc<ir::Route>, fresh: &mut Fresh) -> Arc<RouteRuntime> {
        if let Some(compiled) = fresh.get(&route.key) {
            return compiled.clone();
        }
        let mut tables = route.attachments.iter().filter_map(|it| self.listeners.get(&it.listener));
        let known = tables.find_map(|listener| listener.table.route(&route.key).cloned());
        let compiled = known.unwrap_or_else(|| self.compile_route(route));
        fresh.insert(route.key.clone(), compiled.clone());
        compiled
    }

    /// Puts changed routes into the tables of the listeners they are or were attached to, and builds the tables of
    /// new listeners. Whether any listener or table is another one now.
    pub(super) fn update_tables(
        &mut self,
        touched: &Touched,
        before: &[(ir::RouteKey, Arc<ir::Route>)],
        fresh: &mut Fresh,
    ) -> bool {
        let keys = &touched.routes;
        let (there, gone): (Vec<_>, Vec<_>) =
            touched.listeners.iter().partition(|key| self.snapshot.listeners.contains_key(*key));
        for key in gone {
            self.listeners.remove(key);
        }
        let new: AHashSet<_> = there.into_iter().filter(|key| !self.listeners.contains_key(*key)).collect();
        let mut edits: BTreeMap<&ir::ListenerKey, Edits> = BTreeMap::new();
        for (key, route) in before {
            for attachment in &route.attachments {
                edits.entry(&attachment.listener).or_default().removals.push(key.clone());
            }
        }
        let routes: Vec<_> = if new.is_empty() {
            keys.iter().filter_map(|key| self.snapshot.routes.get(key)).collect()
        } else {
            self.snapshot.routes.values().collect()
        };
        for route in routes {
            let changed = keys.contains(&route.key);
            for attachment in &route.attachments {
                if changed || new.contains(&attachment.listener) {
                    let route = self.compiled(route, fresh);
                    let entry = RouteEntry { route, hostnames: attachment.hostnames.clone() };
                    edits.entry(&attachment.listener).or_default().upserts.push(entry);
                }
            }
        }
        let mut tables = Vec::with_capacity(edits.len());
        for (key, mut edit) in edits {
            let kept: AHashSet<_> = edit.upserts.iter().map(|entry| &entry.route.route.key).collect();
            edit.removals.retain(|removed| !kept.contains(removed));
            let table = match self.listeners.get(key) {
                Some(listener) => listener.table.with(edit.upserts, &edit.removals),
                None => RouteTable::build(edit.upserts),
            };
            tables.push((key.clone(), table));
        }
        self.store_tables(tables, &touched.listeners)
    }

    fn store_tables(
        &mut self,
        tables: Vec<(ir::ListenerKey, RouteTable<RouteRuntime>)>,
        listeners: &BTreeSet<ir::ListenerKey>,
    ) -> bool {
        let changed = !(tables.is_empty() && listeners.is_empty());
        let mut tables: BTreeMap<_, _> = tables.into_iter().map(|(key, table)| (key, Some(table))).collect();
        for key in listeners {
            tables.entry(key.clone()).or_insert(None);
        }
        for (key, table) in tables {
            // A route may name a listener that is not here yet.
            let Some(listener) = self.snapshot.listeners.get(&key) else { continue };
            let current = self.listeners.get(&key);
            let table = table.or_else(|| current.map(|current| current.table.clone())).unwrap_or_default();
            let policy = self.levels().listener(listener);
            let runtime = ListenerRuntime { listener: listener.clone(), table, policy };
            self.listeners.insert(key, Arc::new(runtime));
        }
        changed
    }
}

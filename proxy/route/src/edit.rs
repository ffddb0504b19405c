//! Building a table, and making the next one from the last.
//!
//! An edit touches the hosts of the routes it removes, replaces and adds, and there only the paths of these routes;
//! everything else is shared with the table before. A build is an edit of the empty table.

use crate::candidate::Candidate;
use crate::host_table::{HostTable, Note, Spot};
use crate::table::{RouteEntry, RouteTable, TableRoute};
use crate::trie::{Keyed, Trie};
use sluice_ir::{HostPattern, RouteKey};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl<R: TableRoute> RouteTable<R> {
    /// A table without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A table of these routes; of several with one key the last counts.
    pub fn build(entries: impl IntoIterator<Item = RouteEntry<R>>) -> Self {
        Self::new().with(entries.into_iter().collect(), &[])
    }

    /// The table after an edit: `upserts` are added or take the place of the routes with their keys, then `removals`
    /// without an upsert are gone. The cost follows the size of the edit, not of the table.
    pub fn with(&self, upserts: Vec<RouteEntry<R>>, removals: &[RouteKey]) -> Self {
        let mut next = self.clone();
        let upserts: BTreeMap<RouteKey, RouteEntry<R>> =
            upserts.into_iter().map(|entry| (entry.route.key().clone(), entry)).collect();
        let touched: HashSet<RouteKey> = upserts.keys().chain(removals).cloned().collect();
        let mut notes = Vec::new();
        for old in touched.iter().filter_map(|key| self.routes.get(key.as_str())) {
            next.routes.remove(old.key());
            note(&mut notes, old, |_| None);
        }
        for entry in upserts.into_values() {
            note(&mut notes, &entry, Some);
            next.routes.set(entry);
        }
        notes.sort_unstable_by(|a, b| (&a.host, &a.spot).cmp(&(&b.host, &b.spot)));
        for edit in notes.chunk_by(|a, b| a.host == b.host) {
            next.edit_host(edit, &touched);
        }
        next
    }

    fn edit_host(&mut self, edit: &[Note<R>], touched: &HashSet<RouteKey>) {
        let Some(pattern) = edit.first().map(|note| note.host.clone()) else { return };
        match pattern {
            HostPattern::Any => {
                let mut table = self.any.take().unwrap_or_else(|| Arc::new(HostTable::new(pattern)));
                Arc::make_mut(&mut table).edit(edit, touched);
                self.any = (!table.is_empty()).then_some(table);
            }
            HostPattern::Wildcard(ref suffix) => {
                self.wildcard_dots = self.wildcard_dots.max(suffix.matches('.').count());
                edit_host_in(&mut self.wildcards, pattern, edit, touched);
            }
            HostPattern::Exact(_) => edit_host_in(&mut self.hosts, pattern, edit, touched),
        }
    }
}

/// Notes all spots of a route on all of its hosts, with what `add` makes of each of its candidates there.
fn note<R: TableRoute>(
    notes: &mut Vec<Note<R>>,
    entry: &RouteEntry<R>,
    add: impl Fn(Candidate<R>) -> Option<Candidate<R>>,
) {
    let hosts: HashSet<&HostPattern> = entry.hostnames.iter().collect();
    for host in hosts {
        notes.extend(Candidate::all_of(&entry.route).map(|candidate| Note {
            host: host.clone(),
            spot: Spot::of(candidate.compiled()),
            added: add(candidate),
        }));
    }
}

fn edit_host_in<R: TableRoute>(
    hosts: &mut Trie<Arc<HostTable<R>>>,
    pattern: HostPattern,
    edit: &[Note<R>],
    touched: &HashSet<RouteKey>,
) {
    let fresh = HostTable::new(pattern);
    let mut table = hosts.get(fresh.key()).cloned().unwrap_or_else(|| Arc::new(fresh));
    Arc::make_mut(&mut table).edit(edit, touched);
    if table.is_empty() { hosts.remove(table.key()) } else { hosts.set(table) }
}

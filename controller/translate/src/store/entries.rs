//! The part of the store that knows ServiceEntries: by host, by the workloads that they choose, with their addresses.

use super::{Store, Touched, reindex};
use crate::entry::Wishes;
use crate::model::{EntryModel, WorkloadModel};
use crate::reads::{Key, Node};
use sluice_crds::{Kind, ObjectRef};
use std::sync::Arc;

impl Store {
    pub(super) fn move_entry(
        &mut self,
        reference: &ObjectRef,
        old: Option<&EntryModel>,
        touched: &mut Touched,
    ) {
        let new = self.entries.get(reference).cloned();
        let (before, after) = (old.into_iter(), new.as_deref().into_iter());
        for host in before.clone().flat_map(|it| &it.hosts) {
            reindex(&mut self.entries_by_host, reference, Some(host), None);
        }
        for host in after.clone().flat_map(|it| &it.hosts) {
            reindex(&mut self.entries_by_host, reference, None, Some(host));
        }
        let home =
            |it: Option<&EntryModel>| it.filter(|it| it.selector().is_some()).map(|it| it.home().clone());
        let (old_home, new_home) = (home(old), home(new.as_deref()));
        reindex(&mut self.choosing, reference, old_home.as_ref(), new_home.as_ref());
        touched.nodes.extend([Node::Egress(reference.clone()), Node::Entry(reference.clone())]);
        touched.keys.extend([Key::Object(reference.clone()), Key::Names]);
        touched.nodes.push(Node::Mesh(reference.clone()));
        for host in before.chain(after).flat_map(|it| &it.hosts) {
            // An entry with the name of a Service is part of what is known of that.
            touched.keys.extend(self.domain.service(host).map(Key::Object));
            touched.keys.push(Key::Host(host.into()));
        }
    }

    /// Whoever has other addresses by it is told so.
    pub(super) fn want_addresses(&mut self, reference: &ObjectRef, wishes: Wishes, touched: &mut Touched) {
        for entry in self.addresses.set(reference, wishes) {
            touched.nodes.extend([Node::Entry(entry.clone()), Node::Mesh(entry)]);
            touched.keys.push(Key::Names);
        }
    }

    /// A workload touches the entries of its namespace that choose it, or chose it.
    pub(super) fn move_workload(
        &mut self,
        reference: &ObjectRef,
        old: Option<&WorkloadModel>,
        touched: &mut Touched,
    ) {
        let new = self.workloads.get(reference);
        let choosing = self.choosing.get(&reference.namespace).into_iter().flatten();
        for entry in choosing.filter_map(|it| self.entries.get(it)) {
            let Some(selector) = entry.selector() else { continue };
            let mut both = old.into_iter().chain(new.map(|it| &**it));
            if both.any(|it| it.is_chosen_by(selector)) {
                touched.keys.push(Key::Workloads(entry.meta.reference.clone()));
            }
        }
    }

    /// The workloads that an entry chooses, by name. Costs a look at each of its namespace.
    pub(crate) fn workloads_of(&self, entry: &EntryModel) -> Vec<&Arc<WorkloadModel>> {
        let Some(selector) = entry.selector() else { return Vec::new() };
        let first = ObjectRef::new(Kind::WorkloadEntry, entry.home().clone(), "");
        let all = self.workloads.range(first..).take_while(|it| it.0.namespace == *entry.home());
        all.map(|it| it.1).filter(|it| it.is_chosen_by(selector)).collect()
    }

    /// Every host that a ServiceEntry names.
    pub(crate) fn entry_hosts(&self) -> impl Iterator<Item = &str> {
        self.entries_by_host.keys().map(String::as_str)
    }

    pub(crate) fn entries_of(&self, host: &str) -> Vec<&Arc<EntryModel>> {
        let references = self.entries_by_host.get(host).into_iter().flatten();
        let mut entries: Vec<_> = references.filter_map(|it| self.entries.get(it)).collect();
        entries.sort_by_key(|it| (it.meta.created_s, it.meta.reference.clone()));
        entries
    }
}

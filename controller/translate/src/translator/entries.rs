//! The part of the translator that runs the statuses of ServiceEntries.

use super::Translator;
use crate::entry;
use crate::reads::Node;
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;

impl Translator {
    pub(super) fn run_entry(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let computed = view.entry(reference).map(|it| entry::status(&view, it));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = match computed {
            Some((status, problems)) => (Some(Status::Entry(Box::new(status))), problems),
            None => (None, Vec::new()),
        };
        self.note_reads(node, reads);
        self.output.set_status(reference, status);
        self.output.set_problems(node, problems);
    }
}

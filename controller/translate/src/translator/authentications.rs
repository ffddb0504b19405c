//! The part of the translator that runs the statuses of RequestAuthentications.

use super::Translator;
use crate::authentication;
use crate::reads::Node;
use crate::status::Status;
use crate::view::View;
use sluice_crds::ObjectRef;

impl Translator {
    pub(super) fn run_authentication(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let computed = view.authentication(reference).map(|it| authentication::status(&view, it));
        let reads = if computed.is_some() { view.into_reads() } else { Vec::new() };
        let (status, problems) = computed.unwrap_or_default();
        self.note_reads(node, reads);
        self.output.set_status(reference, status.map(|it| Status::Destination(Box::new(it))));
        self.output.set_problems(node, problems);
    }
}

//! Objects whose newest version can't be read: reported, and kept from spoiling anything else.

use sluice_crds::{Object, ObjectRef, ParseError};
use sluice_translate::{Change, Problem, Severity, Unreadable};
use std::collections::BTreeMap;

/// What to do about one.
const NEXT_STEP: &str = "use values that this release of Sluice knows, or a newer Sluice";

/// The objects and why.
#[derive(Debug, Default)]
pub(crate) struct Unreadables(BTreeMap<ObjectRef, ParseError>);

impl Unreadables {
    /// Notes one, reports it unless it was reported in the same words, and says what the translation is told of it.
    pub(crate) fn note(
        &mut self,
        reference: &ObjectRef,
        rest: Option<Object>,
        error: ParseError,
    ) -> Option<Change> {
        if self.0.get(reference) != Some(&error) {
            let (field, reason) = (error.path.as_str(), error.message.as_str());
            let next_step = NEXT_STEP;
            tracing::warn!(object = %reference, field, reason, next_step, "an object can't be read");
        }
        let change = rest.map(|object| {
            let (field, message) = (error.path.clone(), error.message.clone());
            Change::Unreadable(Box::new(Unreadable { object, field, message }))
        });
        self.0.insert(reference.clone(), error);
        change
    }

    /// The object can be read, or is gone.
    pub(crate) fn is_good(&mut self, reference: &ObjectRef) {
        if self.0.remove(reference).is_some() {
            tracing::info!(object = %reference, "the object can be read again, or is gone");
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// For people.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> + '_ {
        // Routes are told of by the translation too, with the same field.
        let others = self.0.iter().filter(|(object, _)| !object.kind.name().ends_with("Route"));
        others.map(|(object, error)| Problem {
            object: object.clone(),
            field: error.path.clone(),
            severity: Severity::Error,
            message: error.message.clone(),
            next_step: NEXT_STEP.to_owned(),
        })
    }
}

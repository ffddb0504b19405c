//! Problems: what `sluice check` prints and what an operator reads, apart from the conditions in a status.

use serde::Serialize;
use sluice_crds::ObjectRef;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something the object asks for is not done.
    Error,
    /// It is done, but probably not what was meant.
    Warning,
    /// Good to know.
    Note,
}

/// Something about an object that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The object.
    pub object: ObjectRef,
    /// The field, as `spec.rules[0].backendRefs[1].name`; empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: `Service "shop/carts" has no port 8081 (ports: 8080)`.
    pub message: String,
    /// What to do; may be empty.
    pub next_step: String,
}

/// Collects the problems of one object.
#[derive(Debug)]
pub(crate) struct Problems {
    object: ObjectRef,
    list: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(object: &ObjectRef) -> Self {
        Self { object: object.clone(), list: Vec::new() }
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.list.push(Problem {
            object: self.object.clone(),
            field: field.into(),
            severity,
            message: message.into(),
            next_step: next_step.into(),
        });
    }

    pub(crate) fn error(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.add(Severity::Error, field, message, next_step);
    }

    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

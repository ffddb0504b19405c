//! RequestAuthentication: whom it governs and what it says.

use crate::model::Meta;
use crate::targets::PolicyTarget;
use crate::values::Fault;
use sluice_crds::ObjectRef;
use sluice_ir::{JwtRule, Selector};

/// A RequestAuthentication.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuthenticationModel {
    pub(crate) meta: Meta,
    /// `None`: it says nothing of pods.
    pub(crate) selector: Option<Selector>,
    pub(crate) targets: Vec<PolicyTarget>,
    /// With what can be known of addresses without a look at other objects.
    pub(crate) rules: Vec<JwtRule>,
    /// What can't be used.
    pub(crate) faults: Vec<Fault>,
    /// What is done but probably not meant.
    pub(crate) warnings: Vec<Fault>,
}

impl AuthenticationModel {
    /// The Gateways and classes that it governs, as often as it names them.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.targets.iter().filter_map(|it| it.object.as_ref())
    }

    /// Whether it governs workloads: it does unless it names other targets alone.
    pub(crate) fn is_for_workloads(&self) -> bool {
        self.targets.is_empty() || self.selector.is_some()
    }
}

//! ReferenceGrant (GEP-709).

use sluice_crds::ReferenceGrant;

/// Who may name what in the grant's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantModel {
    /// Group, kind, namespace.
    pub(crate) from: Vec<(String, String, String)>,
    /// Group, kind, name (`None`: all).
    pub(crate) to: Vec<(String, String, Option<String>)>,
}

impl GrantModel {
    pub(crate) fn read(it: &ReferenceGrant) -> Self {
        Self {
            from: it
                .spec
                .from
                .iter()
                .map(|it| (it.group.clone(), it.kind.clone(), it.namespace.clone()))
                .collect(),
            to: it
                .spec
                .to
                .iter()
                .map(|it| (it.group.clone(), it.kind.clone(), it.name.clone().filter(|it| !it.is_empty())))
                .collect(),
        }
    }
}

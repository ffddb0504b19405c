//! What all route kinds read and check in the same way: parents, host names, rule names, weights, and rules that can only
//! fail.

use super::faults::Faults;
use crate::model::{BackendModel, FaultReason, FilterModel};
use crate::syntax;
use sluice_ir::{Filter, HostPattern};
use std::sync::Arc;

/// A parentRef as the status repeats it; each route kind has a type of its own with the same fields.
macro_rules! parent_ref {
    ($it:expr) => {{
        let it = $it;
        std::sync::Arc::new($crate::status::ParentRef {
            group: it.group.clone(),
            kind: it.kind.clone(),
            name: it.name.clone(),
            namespace: it.namespace.clone(),
            port: it.port,
            section_name: it.section_name.clone(),
        })
    }};
}
pub(crate) use parent_ref;

/// Largest weight (BackendRef.weight).
const MAX_WEIGHT: i32 = 1_000_000;

/// Reads `hostnames`.
pub(crate) fn hostnames(written: &[String], faults: &mut Faults) -> Arc<[HostPattern]> {
    let mut read = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        if faults.check(format!("spec.hostnames[{index}]"), syntax::hostname(text, true)) {
            let pattern = HostPattern::parse(text);
            if !read.contains(&pattern) {
                read.push(pattern);
            }
        }
    }
    read.into()
}

/// Rule names must be unique (GEP-995).
pub(crate) fn unique_name<'a>(
    name: Option<&'a String>,
    earlier: impl Iterator<Item = Option<&'a String>>,
    field: &str,
    faults: &mut Faults,
) {
    let Some(name) = name else { return };
    if earlier.flatten().any(|it| it == name) {
        faults.value(
            format!("{field}.name"),
            format!("{name:?} names an earlier rule too"),
            "give each rule its own name",
        );
    }
}

/// Warns of a rule that can only answer with an error, which is allowed but seldom meant.
pub(crate) fn warn_if_idle(
    backends: &[BackendModel],
    filters: &[FilterModel],
    field: &str,
    faults: &mut Faults,
) {
    let answers =
        |it: &FilterModel| matches!(it, FilterModel::Ready(Filter::Redirect(_)) | FilterModel::Unresolved(_));
    if backends.iter().any(|it| it.weight > 0) || filters.iter().any(answers) {
        return;
    }
    let message = if backends.is_empty() { "the rule has no backend" } else { "every backend has weight 0" };
    let message = format!("{message}: requests get 500");
    faults.add(FaultReason::Warning, format!("{field}.backendRefs"), message, "name a backend, or redirect");
}

/// Reads `weight`.
pub(crate) fn weight(written: Option<i32>, field: &str, faults: &mut Faults) -> u32 {
    let weight = written.unwrap_or(1);
    if !(0..=MAX_WEIGHT).contains(&weight) {
        faults.value(format!("{field}.weight"), format!("{weight} is out of range"), "use 0 to 1000000");
    }
    u32::try_from(weight).unwrap_or(0)
}

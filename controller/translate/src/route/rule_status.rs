//! What both route kinds check in the same way: host names, rule names, weights, and whether a rule can be used.

use super::faults::Faults;
use crate::syntax;
use sluice_ir::HostPattern;

/// Largest weight (BackendRef.weight).
const MAX_WEIGHT: i32 = 1_000_000;

/// Reads `hostnames`.
pub(crate) fn hostnames(written: &[String], faults: &mut Faults) -> Vec<HostPattern> {
    let mut read = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        if faults.check(format!("spec.hostnames[{index}]"), syntax::hostname(text, true)) {
            let pattern = HostPattern::parse(text);
            if !read.contains(&pattern) {
                read.push(pattern);
            }
        }
    }
    read
}

/// Rule names must be unique (GEP-995).
pub(crate) fn unique_names<'a>(names: impl Iterator<Item = Option<&'a String>>, faults: &mut Faults) {
    let mut seen: Vec<&String> = Vec::new();
    for (index, name) in names.enumerate().filter_map(|(index, name)| Some((index, name?))) {
        if seen.contains(&name) {
            faults.rule = Some(u32::try_from(index).unwrap_or(u32::MAX));
            faults.value(
                format!("spec.rules[{index}].name"),
                format!("{name:?} names an earlier rule too"),
                "give each rule its own name",
            );
            faults.rule = None;
        }
        seen.push(name);
    }
}

/// Reads `weight`.
pub(crate) fn weight(written: Option<i32>, field: &str, faults: &mut Faults) -> u32 {
    let weight = written.unwrap_or(1);
    if !(0..=MAX_WEIGHT).contains(&weight) {
        faults.value(format!("{field}.weight"), format!("{weight} is out of range"), "use 0 to 1000000");
    }
    u32::try_from(weight).unwrap_or(0)
}

/// A rule while it is read.
#[derive(Debug)]
pub(crate) struct RuleShape {
    pub(crate) index: usize,
    pub(crate) name: Option<String>,
    /// Faults before the rule.
    pub(crate) before: usize,
}

impl RuleShape {
    /// Index, name, and why the rule's requests must be refused, if they must.
    pub(crate) fn finish(self, faults: &Faults) -> (u32, Option<String>, Option<String>) {
        let index = u32::try_from(self.index).unwrap_or(u32::MAX);
        (index, self.name, faults.latest_hard(self.before))
    }
}

//! What an entry is told: whether it is taken, what of it is not done, who has its hosts, and the addresses that they have.

use super::judge::{Remark, judge};
use super::rivals::lost;
use crate::model::{EntryModel, Resolution};
use crate::problem::{Problem, Problems, Severity};
use crate::status::{Condition, EntryAddress, EntryStatus};
use crate::view::View;

/// Our conditions stand beside those of Istio's own controllers.
const ACCEPTED: &str = "sluice.dev/Accepted";
const CONFLICTED: &str = "sluice.dev/Conflicted";

/// Status and problems of an entry.
pub(crate) fn compute(view: &View<'_>, entry: &EntryModel) -> (EntryStatus, Vec<Problem>) {
    let mut problems = Problems::of(&entry.meta.reference);
    let remarks = judge(entry);
    for Remark { severity, field, message, next_step } in &remarks {
        problems.add(*severity, field, message, *next_step);
    }
    let lost = lost(view, entry);
    for it in &lost {
        let next_step = "remove the host here or there, or export the entries to different namespaces";
        let severity = if it.is_whole { Severity::Warning } else { Severity::Note };
        problems.add(severity, format!("spec.hosts[{}]", it.index), &it.message, next_step);
    }
    let generation = entry.meta.generation;
    let said = |severity: Severity| -> Vec<String> {
        let of = remarks.iter().filter(|it| it.severity == severity);
        of.map(|it| format!("{}: {}", it.field, it.message)).collect()
    };
    let is_usable = |index: usize, host: &String| {
        crate::syntax::hostname(host, true).is_ok() && !lost.iter().any(|it| it.is_whole && it.index == index)
    };
    let is_taken = entry.resolution != Resolution::Unknown
        && entry.hosts.iter().enumerate().any(|(index, host)| is_usable(index, host));
    let messages = lost.iter().map(|it| it.message.clone()).collect::<Vec<_>>().join("; ");
    let mut conditions = Vec::new();
    conditions.push(match is_taken {
        true => Condition::yes(ACCEPTED, "Accepted", generation).message(said(Severity::Warning).join("; ")),
        false if messages.is_empty() => Condition::no(ACCEPTED, "Invalid", "no host can be used", generation),
        false => Condition::no(ACCEPTED, "Conflicted", messages.clone(), generation),
    });
    conditions.extend(Condition::not_done(&said(Severity::Error), generation));
    if !messages.is_empty() {
        conditions.push(Condition::yes(CONFLICTED, "HostConflict", generation).message(messages));
    }
    let addresses = view.addresses_of(&entry.meta.reference).into_iter();
    let addresses =
        addresses.map(|(host, value)| EntryAddress { host: host.to_string(), value: value.to_string() });
    (EntryStatus { addresses: addresses.collect(), conditions }, problems.into_list())
}

//! Puts our status into what the server has: pure. Only our own parts change; the time of a condition moves only when
//! its `status` does; what we no longer say is taken out.

use serde_json::{Map, Value, json};
use sluice_crds::Kind;

/// Entries of `status.parents` that a route may have (Gateway API RouteStatus.parents: maxItems).
const PARENTS: usize = 32;
/// Entries of `status.ancestors` that a policy may have (PolicyStatus.ancestors: maxItems).
const ANCESTORS: usize = 16;

/// Begins the types of our conditions where others have some too.
const OWN_CONDITIONS: &str = "sluice.dev/";

/// How the status of a kind is shared with other controllers.
enum Shape {
    /// All of it belongs to the controller of the object's class.
    Whole,
    /// Conditions of several controllers; ours have our domain in their type.
    Conditions,
    /// The same, and addresses that hosts are given, by whoever comes first.
    Addresses,
    /// A list with one entry for each controller and parent.
    Entries {
        /// `parents`.
        list: &'static str,
        /// `parentRef`.
        reference: &'static str,
        /// Most entries of all controllers together.
        most: usize,
    },
}

fn shape(kind: Kind) -> Shape {
    match kind.name() {
        name if name.ends_with("Route") => {
            Shape::Entries { list: "parents", reference: "parentRef", most: PARENTS }
        }
        name if name.ends_with("Policy") => {
            Shape::Entries { list: "ancestors", reference: "ancestorRef", most: ANCESTORS }
        }
        "DestinationRule" | "PeerAuthentication" | "Sidecar" | "Telemetry" => Shape::Conditions,
        "ServiceEntry" => Shape::Addresses,
        _ => Shape::Whole,
    }
}

/// What must be written to make `now_there` say what we want, as a JSON merge patch (RFC 7386) of `status`; `None`
/// when it says so already. `wanted` is `None` when we have nothing to say of the object; `time` is now.
pub(crate) fn patch(
    kind: Kind,
    now_there: &Value,
    wanted: Option<&Value>,
    controller: &str,
    time: &str,
) -> Option<Value> {
    match shape(kind) {
        // The object belongs to another controller, or to none: its status is not ours to clear.
        Shape::Whole => whole(now_there, wanted?, time),
        Shape::Conditions => conditions(now_there, wanted, time),
        Shape::Addresses => addresses(now_there, wanted, time),
        Shape::Entries { list, reference, most } => {
            let ours = wanted.and_then(|it| it.get(list)).and_then(Value::as_array);
            let ours = ours.map(Vec::as_slice).unwrap_or_default();
            entries(now_there, ours, &Place { list, reference, most, controller }, time)
        }
    }
}

fn whole(now_there: &Value, wanted: &Value, time: &str) -> Option<Value> {
    let mut new = wanted.as_object()?.clone();
    if let Some(conditions) = new.get_mut("conditions") {
        *conditions = merged(conditions, now_there.get("conditions"), true, time);
    }
    let listeners = new.get_mut("listeners").and_then(Value::as_array_mut);
    for listener in listeners.into_iter().flatten() {
        let name = listener.get("name").cloned();
        let old = find(now_there.get("listeners"), |it| it.get("name") == name.as_ref());
        let old = old.and_then(|it| it.get("conditions"));
        if let Some(conditions) = listener.get_mut("conditions") {
            *conditions = merged(conditions, old, false, time);
        }
    }
    let mut patch = Map::new();
    for (field, value) in new {
        if now_there.get(&field) != Some(&value) {
            patch.insert(field, value);
        }
    }
    for field in now_there.as_object().into_iter().flat_map(Map::keys) {
        if wanted.get(field).is_none() {
            patch.insert(field.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What others say stays; ours are taken out when we have nothing to say.
fn conditions(now_there: &Value, wanted: Option<&Value>, time: &str) -> Option<Value> {
    let old = now_there.get("conditions");
    let is_ours =
        |it: &&Value| it.get("type").and_then(Value::as_str).is_some_and(|it| it.starts_with(OWN_CONDITIONS));
    let there = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut all: Vec<Value> = there.iter().filter(|it| !is_ours(it)).cloned().collect();
    if let Some(Value::Array(own)) =
        wanted.and_then(|it| it.get("conditions")).map(|new| merged(new, old, false, time))
    {
        all.extend(own);
    }
    (all != there).then(|| json!({ "conditions": all }))
}

/// The addresses are the whole list: ours has those that were there and may stay.
fn addresses(now_there: &Value, wanted: Option<&Value>, time: &str) -> Option<Value> {
    let mut patch = conditions(now_there, wanted, time);
    let (old, new) = (now_there.get("addresses"), wanted.and_then(|it| it.get("addresses")));
    let is_none = |it: Option<&Value>| it.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if wanted.is_some() && old != new && !(is_none(old) && is_none(new)) {
        let fields = patch.get_or_insert_with(|| json!({}));
        fields["addresses"] = new.cloned().unwrap_or_default();
    }
    patch
}

struct Place<'a> {
    list: &'static str,
    reference: &'static str,
    most: usize,
    controller: &'a str,
}

fn entries(now_there: &Value, ours: &[Value], place: &Place<'_>, time: &str) -> Option<Value> {
    let there = now_there.get(place.list).and_then(Value::as_array);
    let there = there.map(Vec::as_slice).unwrap_or_default();
    let is_ours = |it: &&Value| it.get("controllerName").and_then(Value::as_str) == Some(place.controller);
    let (old, others): (Vec<&Value>, Vec<&Value>) = there.iter().partition(is_ours);
    let room = place.most.saturating_sub(others.len());
    let new: Vec<Value> = ours
        .iter()
        .take(room)
        .map(|entry| {
            let same = |it: &&&Value| it.get(place.reference) == entry.get(place.reference);
            let conditions = old.iter().find(same).and_then(|it| it.get("conditions"));
            let mut entry = entry.clone();
            if let Some(list) = entry.get_mut("conditions") {
                *list = merged(list, conditions, false, time);
            }
            entry
        })
        .collect();
    if new.iter().eq(old.iter().copied()) {
        return None;
    }
    let all: Vec<Value> = others.into_iter().cloned().chain(new).collect();
    Some(json!({ place.list: all }))
}

/// The conditions of `new` with the time of `old` where `status` stayed the same. With `keep_foreign` conditions of
/// other domains (`example.com/Ready`) are kept.
fn merged(new: &Value, old: Option<&Value>, keep_foreign: bool, time: &str) -> Value {
    let mut list = Vec::new();
    for condition in new.as_array().into_iter().flatten() {
        let mut condition = condition.clone();
        let before = find(old, |it| it.get("type") == condition.get("type"));
        let kept = before
            .filter(|it| it.get("status") == condition.get("status"))
            .and_then(|it| it.get("lastTransitionTime").cloned());
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), kept.unwrap_or_else(|| json!(time)));
        }
        list.push(condition);
    }
    let is_foreign = |it: &&Value| it.get("type").and_then(Value::as_str).is_some_and(|it| it.contains('/'));
    if keep_foreign {
        list.extend(old.and_then(Value::as_array).into_iter().flatten().filter(is_foreign).cloned());
    }
    Value::Array(list)
}

fn find(list: Option<&Value>, is_it: impl Fn(&Value) -> bool) -> Option<&Value> {
    list?.as_array()?.iter().find(|it| is_it(it))
}

/// Whether the server says `Programmed=True` and we would now say that the data planes have not confirmed yet.
pub(crate) fn is_pending_again(now_there: &Value, wanted: &Value) -> bool {
    let programmed = |status: &Value| -> Option<(String, String)> {
        let condition = find(status.get("conditions"), |it| it.get("type") == Some(&json!("Programmed")))?;
        let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some((text("status"), text("reason")))
    };
    programmed(now_there).is_some_and(|it| it.0 == "True")
        && programmed(wanted).is_some_and(|it| it.0 == "False" && it.1 == "Pending")
}

/// The generation that a status was made for: the newest of its conditions.
pub(crate) fn generation(status: &Value) -> Option<i64> {
    match status {
        Value::Object(fields) => fields
            .iter()
            .filter_map(|(name, value)| match name.as_str() {
                "observedGeneration" => value.as_i64(),
                _ => generation(value),
            })
            .max(),
        Value::Array(items) => items.iter().filter_map(generation).max(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;

//! The backends of a rule: their shares, their endpoints, and which of them would answer.

use super::places::Places;
use super::report::{Answer, BackendPart, Part};
use super::{describe, destination};
use sluice_ir::{BackendTarget, EndpointSet, Origin, Snapshot, WeightedBackend};
use sluice_proxy::telemetry::Outcome;

/// How many endpoints of a backend are shown.
const MOST_ENDPOINTS: usize = 20;

/// Every backendRef of a rule: the route, the rule's path in it, its backends.
pub(super) fn parts(
    snapshot: &Snapshot,
    (route, rule, backends): (&Origin, &str, &[WeightedBackend]),
    places: &mut Places<'_>,
) -> Vec<BackendPart> {
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let parts = backends.iter().enumerate().map(|(index, backend)| {
        let field = format!("{rule}.backendRefs[{index}]");
        let share = if total == 0 { 0.0 } else { f64::from(backend.weight) * 100.0 / total as f64 };
        let mut part = one(snapshot, backend, places);
        part.share_percent = share;
        part.part.position = places.field(route, &field);
        for (filter_index, filter) in backend.filters.iter().enumerate() {
            let position = places.field(route, &format!("{field}.filters[{filter_index}]"));
            part.filters.push(Part::new(describe::filter(filter), position));
        }
        part
    });
    parts.collect()
}

/// What the client gets, all backends taken together.
pub(super) fn answer(backends: &[BackendPart]) -> Result<Answer, Answer> {
    let used: Vec<_> = backends.iter().filter(|backend| backend.share_percent > 0.0).collect();
    if used.is_empty() {
        let text = if backends.is_empty() { "the rule has no backend" } else { "every backend has weight 0" };
        return Err(Answer::refused(Outcome::NoBackend, text));
    }
    let good: f64 = used.iter().filter(|it| it.answer.is_served).map(|it| it.share_percent).sum();
    match used.iter().find(|it| !it.answer.is_served) {
        None => Ok(Answer::served(Outcome::Served, None, "forwarded to a backend")),
        Some(bad) if good > 0.0 => {
            let (good, bad) = (describe::rounded(good), &bad.answer);
            let status = bad.status.map(|status| status.to_string()).unwrap_or_default();
            Ok(Answer::served(
                Outcome::Served,
                None,
                format!("{good} % of the requests are forwarded, the others get {status}: {}", bad.text),
            ))
        }
        Some(bad) => Err(bad.answer.clone()),
    }
}

fn one(snapshot: &Snapshot, backend: &WeightedBackend, places: &mut Places<'_>) -> BackendPart {
    let part = |text: String, answer: Answer| BackendPart {
        part: Part::new(text, None),
        share_percent: 0.0,
        answer,
        defined: None,
        filters: Vec::new(),
        rules: Vec::new(),
        endpoints: Vec::new(),
    };
    let key = match &backend.target {
        BackendTarget::Fail(fail) => {
            let answer = Answer::refused(Outcome::InvalidBackend, fail.reason.clone());
            return part("reference that does not resolve".to_owned(), answer);
        }
        BackendTarget::Backend(key) => key,
    };
    let Some(found) = snapshot.backends.get(key) else {
        return part(key.to_string(), Answer::refused(Outcome::InvalidBackend, "the backend is unknown"));
    };
    let set = snapshot.endpoint_sets.get(&found.endpoints);
    let text = format!("{key} ({})", describe::protocol(found.protocol));
    let mut part = part(text, reachable(set));
    part.defined = Some(Part::new(found.origin.to_string(), places.of(&found.origin)));
    part.rules = destination::parts(found, places);
    let endpoints = set.map(|set| set.endpoints.as_slice()).unwrap_or_default();
    for endpoint in endpoints.iter().take(MOST_ENDPOINTS) {
        let position = places.endpoint(&found.origin, &endpoint.address);
        part.endpoints.push(Part::new(describe::endpoint(endpoint), position));
    }
    if let Some(asked) = set.and_then(|it| describe::asked(it.asked.as_deref()?)) {
        let position = set.and_then(|set| places.of(&set.origin));
        part.endpoints.push(Part::new(asked, position));
    }
    if endpoints.len() > MOST_ENDPOINTS {
        part.endpoints.push(Part::new(format!("and {} more", endpoints.len() - MOST_ENDPOINTS), None));
    }
    part
}

fn reachable(set: Option<&std::sync::Arc<EndpointSet>>) -> Answer {
    match set {
        Some(set) if !set.endpoints.is_empty() || set.asked.is_some() => {
            Answer::served(Outcome::Served, None, "forwarded")
        }
        _ => Answer::refused(Outcome::NoEndpoint, "the backend has no endpoint that is ready"),
    }
}

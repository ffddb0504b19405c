//! What the chosen rule makes of the request: filters, policies, backends, and the answer.

use super::Asked;
use super::backends;
use super::describe;
use super::places::Places;
use super::report::{Answer, Explanation, Part};
use super::traffic;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use sluice_ir::{Cors, CorsOrigin, Filter, Origin, Rule, Snapshot};
use sluice_proxy::http::{Matched, RedirectInput, location};
use sluice_proxy::snapshot::{Port, RuleHandle};
use sluice_proxy::telemetry::Outcome;

/// A rule that was found, with what it needs.
pub(super) struct Chosen<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) asked: &'a Asked,
    pub(super) port: &'a Port,
    pub(super) matched: &'a Matched<'a, 'a>,
}

impl Chosen<'_> {
    /// Notes filters, policies and backends, and says what the client gets, in the order of the proxy: a filter that
    /// does not resolve, a preflight, a redirect, the backends.
    pub(super) fn answer(
        &self,
        places: &mut Places<'_>,
        explanation: &mut Explanation,
    ) -> Result<Answer, Answer> {
        let runtime = RuleHandle::of(&self.matched.found);
        let Some(rule) = runtime.rule() else {
            return Err(Answer::refused(Outcome::Internal, "the rule is gone"));
        };
        let origin = &runtime.route().route.origin;
        let field = format!("spec.rules[{}]", rule.index);
        for (index, filter) in rule.filters.iter().enumerate() {
            let position = places.field(origin, &format!("{field}.filters[{index}]"));
            explanation.filters.push(Part::new(describe::filter(filter), position));
        }
        self.policies(origin, rule, places, explanation);
        explanation.backends = backends::parts(self.snapshot, (origin, &field, &rule.backends), places);
        if let Some(fail) = runtime.fail() {
            return Err(Answer::refused(Outcome::InvalidFilter, fail.reason.clone()));
        }
        let cors = rule.filters.iter().find_map(|filter| match filter {
            Filter::Cors(cors) => Some(cors),
            _ => None,
        });
        if let Some(cors) = cors.filter(|_| self.is_preflight()) {
            return self.preflight(cors);
        }
        if let Some(redirect) = runtime.redirect() {
            let location = location(redirect, self.redirect_input());
            return Ok(Answer::served(
                Outcome::Redirected,
                Some(redirect.status),
                format!("location: {location}"),
            ));
        }
        backends::answer(&explanation.backends)
    }

    fn redirect_input(&self) -> RedirectInput<'_> {
        RedirectInput {
            tls: self.port.tls,
            host: &self.matched.host,
            // The port of a forward proxy is none of the destination's.
            listener_port: self.asked.proxied.as_ref().map_or(self.port.port, |it| it.port),
            path: &self.matched.path,
            query: self.asked.query.as_deref(),
            matched: self.matched.found.matched_prefix_len,
        }
    }

    fn policies(&self, origin: &Origin, rule: &Rule, places: &mut Places<'_>, explanation: &mut Explanation) {
        let mut add = |text: String, field: &str| {
            let position = places.field(origin, &format!("spec.rules[{}].{field}", rule.index));
            explanation.policies.push(Part::new(text, position));
        };
        for text in rule.timeouts.iter().flat_map(|it| describe::timeouts(it)) {
            add(text, "timeouts");
        }
        if let Some(retry) = &rule.retry {
            add(describe::retry(retry), "retry");
        }
        if let Some(session) = &rule.session_persistence {
            add(describe::session(session), "sessionPersistence");
        }
        let runtime = RuleHandle::of(&self.matched.found);
        if let Some(policy) = runtime.policy(self.matched.listener) {
            for (setting, policy, text) in traffic::lines(&policy.settings, rule) {
                let position = places.field(policy, &format!("spec.{setting}"));
                explanation.policies.push(Part::new(text, position));
            }
        }
        let gateway = &self.port.gateway;
        for text in describe::settings(&gateway.settings) {
            let position = places.field(&gateway.origin, "spec.infrastructure.parametersRef");
            explanation.policies.push(Part::new(text, position));
        }
    }

    /// Fetch Standard, CORS-preflight fetch.
    fn is_preflight(&self) -> bool {
        let headers = &self.asked.headers;
        self.asked.method == "OPTIONS"
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    fn preflight(&self, cors: &Cors) -> Result<Answer, Answer> {
        let origin =
            self.asked.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        if cors.allow_origins.iter().any(|pattern| covers(pattern, &origin.to_ascii_lowercase())) {
            let text = format!("the preflight of {origin} is answered");
            return Ok(Answer::served(Outcome::Preflight, Some(204), text));
        }
        let text = format!("the preflight of {origin} is refused: the origin is not allowed");
        Err(Answer { is_served: false, ..Answer::served(Outcome::Preflight, Some(403), text) })
    }
}

fn covers(pattern: &CorsOrigin, origin: &str) -> bool {
    match pattern {
        CorsOrigin::Any => true,
        CorsOrigin::Exact(exact) => exact == origin,
        CorsOrigin::Wildcard { scheme, suffix } => origin
            .strip_prefix(scheme.as_str())
            .and_then(|rest| rest.strip_suffix(suffix.as_str()))
            .is_some_and(|labels| !labels.is_empty()),
    }
}

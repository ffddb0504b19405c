//! What the chosen rule makes of the request: filters, policies, backends, and the answer.

use super::Asked;
use super::backends;
use super::describe;
use super::places::Places;
use super::report::{Answer, Explanation, Part};
use super::table::Target;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use sluice_ir::{Cors, CorsOrigin, Filter, Listener, PathEdit, Redirect, Rule, Snapshot};
use sluice_proxy::telemetry::Outcome;
use sluice_route::Found;

/// A rule that was found, with what it needs.
pub(super) struct Chosen<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) asked: &'a Asked,
    pub(super) listener: &'a Listener,
    pub(super) found: &'a Found<'a, Target>,
    /// Normalised.
    pub(super) path: &'a str,
}

impl Chosen<'_> {
    /// Notes filters, policies and backends, and says what the client gets.
    pub(super) fn answer(
        &self,
        places: &mut Places<'_>,
        explanation: &mut Explanation,
    ) -> Result<Answer, Answer> {
        let Some(rule) = self.found.target.rule() else {
            return Err(Answer::refused(Outcome::Internal, "the rule is gone"));
        };
        let field = format!("spec.rules[{}]", rule.index);
        let origin = &self.found.target.route.origin;
        for (index, filter) in rule.filters.iter().enumerate() {
            let position = places.field(origin, &format!("{field}.filters[{index}]"));
            explanation.filters.push(Part::new(describe::filter(filter), position));
        }
        self.policies(rule, &field, places, explanation);
        explanation.backends = backends::parts(self.snapshot, origin, rule, places);
        for filter in &rule.filters {
            match filter {
                Filter::Fail(fail) => {
                    return Err(Answer::refused(Outcome::InvalidFilter, fail.reason.clone()));
                }
                Filter::Cors(cors) if self.is_preflight() => return Ok(self.preflight(cors)),
                Filter::Redirect(redirect) => return Ok(self.redirected(redirect)),
                Filter::Cors(_)
                | Filter::Mirror(_)
                | Filter::Rewrite(_)
                | Filter::RequestHeaders(_)
                | Filter::ResponseHeaders(_) => {}
            }
        }
        backends::answer(&explanation.backends)
    }

    fn policies(&self, rule: &Rule, field: &str, places: &mut Places<'_>, explanation: &mut Explanation) {
        let origin = &self.found.target.route.origin;
        let mut add = |text: String, field: String| {
            let position = places.field(origin, &field);
            explanation.policies.push(Part::new(text, position));
        };
        for text in describe::timeouts(&rule.timeouts) {
            add(text, format!("{field}.timeouts"));
        }
        if let Some(retry) = &rule.retry {
            add(describe::retry(retry), format!("{field}.retry"));
        }
        if let Some(session) = &rule.session_persistence {
            add(describe::session(session), format!("{field}.sessionPersistence"));
        }
        let Some(gateway) = self.snapshot.gateways.get(&self.listener.gateway) else { return };
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

    fn preflight(&self, cors: &Cors) -> Answer {
        let origin =
            self.asked.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        let allowed = cors.allow_origins.iter().any(|pattern| covers(pattern, &origin.to_ascii_lowercase()));
        let verdict = if allowed { "allows" } else { "does not name" };
        Answer::served(
            Outcome::Preflight,
            None,
            format!("the answer to the preflight {verdict} the origin {origin}"),
        )
    }

    fn redirected(&self, redirect: &Redirect) -> Answer {
        let location = self.location(redirect);
        Answer::served(Outcome::Redirected, Some(redirect.status), format!("location: {location}"))
    }

    /// Gateway API, HTTPRequestRedirectFilter: what is absent is taken from the request.
    fn location(&self, redirect: &Redirect) -> String {
        let own_scheme = if self.listener.protocol.is_tls() { "https" } else { "http" };
        let scheme = redirect.scheme.as_deref().unwrap_or(own_scheme);
        let well_known = if scheme == "https" { 443 } else { 80 };
        let port =
            redirect.port.unwrap_or(if redirect.scheme.is_some() { well_known } else { self.listener.port });
        let host = redirect.hostname.as_deref().unwrap_or(&self.asked.host);
        let port = if port == well_known { String::new() } else { format!(":{port}") };
        let query = self.asked.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{}{query}", self.edited_path(redirect.path.as_ref()))
    }

    fn edited_path(&self, edit: Option<&PathEdit>) -> String {
        match edit {
            None => self.path.to_owned(),
            Some(PathEdit::Full(path)) => path.clone(),
            Some(PathEdit::Prefix(prefix)) => {
                let rest =
                    self.path.get(self.found.matched_prefix_len.unwrap_or_default()..).unwrap_or_default();
                let joined = format!("{}{rest}", prefix.trim_end_matches('/'));
                if joined.starts_with('/') { joined } else { format!("/{joined}") }
            }
        }
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

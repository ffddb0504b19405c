//! The explanation as data, and its form for people.

use super::Asked;
use crate::finding::Position;
use serde::Serialize;
use sluice_proxy::telemetry::Outcome;
use std::fmt::Write as _;

/// How many near misses are shown.
pub(super) const MOST_NEAR: usize = 8;

/// Everything the request would meet, in its order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Method and URL.
    pub request: String,
    /// The listener that takes the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<Part>,
    /// The route, and the hostname by which it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Part>,
    /// The rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Part>,
    /// The match that held.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<Part>,
    /// The rule's filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Part>,
    /// Timeouts, retries, sessions, balancing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Part>,
    /// The rule's backends with their shares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<BackendPart>,
    /// What the client would get.
    pub answer: Answer,
    /// What came nearest, when nothing took the request.
    #[serde(rename = "nearMisses", skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Part>,
    /// Good to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A thing in words, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// In words.
    pub text: String,
    /// Absent for what stands in no file.
    #[serde(flatten)]
    pub position: Option<Position>,
}

/// A backend.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendPart {
    /// The backendRef.
    #[serde(flatten)]
    pub part: Part,
    /// Of all requests of the rule.
    pub share_percent: f64,
    /// What requests get that come here.
    pub answer: Answer,
    /// The Service or ServiceEntry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defined: Option<Part>,
    /// The backendRef's filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Part>,
    /// What policies and DestinationRules say of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Part>,
    /// Its endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Part>,
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Whether that is what one wants: forwarded, redirected or a preflight answered.
    pub is_served: bool,
    /// Status of an answer that Sluice gives itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Word of the access log; absent when no request gets as far as that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// In words.
    pub text: String,
}

impl Answer {
    /// The request is forwarded or answered as asked.
    pub(super) fn served(outcome: Outcome, status: Option<u16>, text: impl Into<String>) -> Self {
        Self { is_served: true, status, outcome: Some(outcome.word()), text: text.into() }
    }

    /// Sluice answers with an error.
    pub(super) fn refused(outcome: Outcome, text: impl Into<String>) -> Self {
        Self { is_served: false, status: outcome.status(), outcome: Some(outcome.word()), text: text.into() }
    }

    /// There is no HTTP answer at all.
    pub(super) fn unreachable(text: impl Into<String>) -> Self {
        Self { is_served: false, status: None, outcome: None, text: text.into() }
    }

    fn to_text(&self) -> String {
        let status = self.status.map(|status| format!("{status} ")).unwrap_or_default();
        let outcome = self.outcome.map(|outcome| format!("{outcome}: ")).unwrap_or_default();
        format!("{status}{outcome}{}", self.text)
    }
}

impl Part {
    pub(super) fn new(text: impl Into<String>, position: Option<Position>) -> Self {
        Self { text: text.into(), position }
    }

    fn to_text(&self) -> String {
        match &self.position {
            Some(position) => format!("{}  [{position}]", self.text),
            None => self.text.clone(),
        }
    }
}

impl Explanation {
    pub(super) fn of(asked: &Asked) -> Self {
        Self {
            request: match asked.carrier {
                _ if asked.proxied.is_some() => super::forward::request(asked),
                super::asked::Carrier::Requests => format!("{} {}", asked.method, asked.url),
                _ => asked.url.clone(),
            },
            listener: None,
            route: None,
            rule: None,
            matched: None,
            filters: Vec::new(),
            policies: Vec::new(),
            backends: Vec::new(),
            answer: Answer::unreachable(""),
            near: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// One line for each step.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.request);
        let mut line = |label: &str, words: &str| {
            let _ = writeln!(text, "  {label:<10} {words}");
        };
        let steps = [
            ("listener", &self.listener),
            ("route", &self.route),
            ("rule", &self.rule),
            ("match", &self.matched),
        ];
        for (label, part) in steps {
            part.iter().for_each(|part| line(label, &part.to_text()));
        }
        self.filters.iter().for_each(|part| line("filter", &part.to_text()));
        self.policies.iter().for_each(|part| line("policy", &part.to_text()));
        for backend in &self.backends {
            let share = super::describe::rounded(backend.share_percent);
            line("backend", &format!("{share} % {}", backend.part.to_text()));
            backend.defined.iter().for_each(|part| line("", &format!("  {}", part.to_text())));
            backend.filters.iter().for_each(|part| line("", &format!("  filter {}", part.to_text())));
            backend.rules.iter().for_each(|part| line("", &format!("  rule {}", part.to_text())));
            backend
                .endpoints
                .iter()
                .for_each(|endpoint| line("", &format!("  endpoint {}", endpoint.to_text())));
            if !backend.answer.is_served {
                line("", &format!("  {}", backend.answer.to_text()));
            }
        }
        line("answer", &self.answer.to_text());
        self.near.iter().for_each(|part| line("nearest", &part.to_text()));
        self.notes.iter().for_each(|note| line("note", note));
        text
    }
}

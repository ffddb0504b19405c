//! What a request asks of the echo by its query and header.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use std::time::Duration;

/// The longest delay that a request may ask for.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Name of the request header that asks for a response header: `x-echo-set-header: name: value`.
const SET_HEADER: &str = "x-echo-set-header";

/// The query's parameters; `+` and percent-encoding are not decoded, as no knob needs them.
#[derive(Clone, Debug, Default)]
pub(super) struct Knobs(Vec<(String, String)>);

impl Knobs {
    /// Reads the query of a request.
    pub(super) fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The first parameter of that name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A number, or `default` when absent or unreadable; never more than `most`.
    pub(super) fn number(&self, name: &str, default: u64, most: u64) -> u64 {
        self.text(name).and_then(|value| value.parse().ok()).unwrap_or(default).min(most)
    }

    /// A duration, or `default` when absent or unreadable; never more than a minute.
    pub(super) fn duration(&self, name: &str, default: Duration) -> Duration {
        let asked = self.text(name).and_then(|value| crate::duration::parse(value).ok());
        asked.unwrap_or(default).min(LONGEST_DELAY)
    }
}

/// The response headers that the request asks for; unreadable ones are left out.
pub(super) fn wanted_headers(request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let asked = request.get_all(SET_HEADER).iter().filter_map(|value| value.to_str().ok());
    asked
        .filter_map(|value| value.split_once(':'))
        .filter_map(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)))
        .collect()
}

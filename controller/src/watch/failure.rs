//! How asking the API server can fail, as far as it matters for what to do next.

use serde_json::Value;
use thiserror::Error;

/// Why a list or a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    /// 410: the history that was asked for is gone (compaction). List anew.
    #[error("the history is compacted: {0}")]
    Expired(String),
    /// 404: the kind is not served, or not any more.
    #[error("not served: {0}")]
    NotServed(String),
    /// 403.
    #[error("not permitted: {0}")]
    Forbidden(String),
    /// The server does not take the request as it is: it has no streaming lists.
    #[error("refused: {0}")]
    Refused(String),
    /// Another answer that is no success.
    #[error("{code}: {message}")]
    Answer {
        /// Status code.
        code: u16,
        /// The server's sentence.
        message: String,
    },
    /// No connection, or it broke.
    #[error("disconnected: {0}")]
    Disconnected(String),
    /// Nothing came for long, not even a bookmark.
    #[error("nothing came for too long")]
    Silent,
    /// An answer that can't be read.
    #[error("unreadable answer: {0}")]
    NotJson(String),
}

impl Failure {
    /// One word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Expired(_) => "expired",
            Self::NotServed(_) => "not_served",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Answer { .. } => "answer",
            Self::Disconnected(_) => "disconnected",
            Self::Silent => "silent",
            Self::NotJson(_) => "not_json",
        }
    }

    /// From a status code and a sentence.
    pub(crate) fn of_code(code: u16, message: &str) -> Self {
        let message = message.to_owned();
        match code {
            410 => Self::Expired(message),
            404 => Self::NotServed(message),
            401 | 403 => Self::Forbidden(message),
            400 | 422 => Self::Refused(message),
            code => Self::Answer { code, message },
        }
    }

    /// From the `Status` that an `ERROR` event carries.
    pub(crate) fn of_event(status: &Value) -> Self {
        let code = status.get("code").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
        let message = status.get("message").and_then(Value::as_str).unwrap_or_default();
        Self::of_code(code.unwrap_or(500), message)
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_code(status.code, &status.message),
            kube::Error::SerdeError(error) => Self::NotJson(error.to_string()),
            // The chain of causes: the outermost says only "client error".
            error => Self::Disconnected(chain(&error)),
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use serde_json::json;

    #[test]
    fn an_error_event_says_whether_the_history_is_gone() {
        let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
        assert_eq!(Failure::of_event(&gone), Failure::Expired("too old resource version".to_owned()));
        assert!(matches!(Failure::of_event(&json!({})), Failure::Answer { code: 500, .. }));
        assert!(matches!(Failure::of_code(403, ""), Failure::Forbidden(_)));
    }
}

//! What an error of the authority means for the certificate.

use crate::Reason;
use crate::trouble::{Retry, Trouble};
use instant_acme::{Error, Problem};
use std::time::{Duration, SystemTime};

/// Pause after a limit of the authority that says nothing about when to come back.
const LIMIT_PAUSE: Duration = Duration::from_secs(3600);

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// The trouble that an error of the library stands for.
pub(crate) fn trouble(error: &Error, retry_after: Option<SystemTime>, now: SystemTime) -> Trouble {
    match error {
        Error::Api(problem) => of_problem(problem, retry_after, now),
        // Everything else: no answer, or one that is not ACME.
        other => {
            Trouble::new(Reason::Authority, Retry::Backoff, format!("the authority can't be asked: {other}"))
        }
    }
}

/// The trouble that a problem document stands for (RFC 8555 §6.7).
pub(crate) fn of_problem(problem: &Problem, retry_after: Option<SystemTime>, now: SystemTime) -> Trouble {
    let kind = kind(problem);
    let (reason, retry) = match kind {
        "rateLimited" => (Reason::Quota, Retry::At(retry_after.unwrap_or(now + LIMIT_PAUSE))),
        "dns" | "caa" => (Reason::Dns, Retry::Backoff),
        "connection" | "unauthorized" | "incorrectResponse" | "tls" => (Reason::Challenge, Retry::Backoff),
        "rejectedIdentifier" | "unsupportedIdentifier" | "malformed" => (Reason::Name, Retry::Backoff),
        "accountDoesNotExist" => (Reason::Issuer, Retry::Account),
        "userActionRequired" | "externalAccountRequired" | "invalidContact" | "unsupportedContact" => {
            (Reason::Issuer, Retry::Backoff)
        }
        _ => (Reason::Authority, retry_after.map_or(Retry::Backoff, Retry::At)),
    };
    Trouble::new(reason, retry, format!("the authority says {}", text(problem)))
}

/// The problem's type without its prefix.
pub(crate) fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix(PREFIX).unwrap_or(kind)
}

/// As `rateLimited: too many certificates`, with the problems of single names.
fn text(problem: &Problem) -> String {
    let mut text = match problem.detail.as_deref() {
        Some(detail) => format!("{}: {detail}", kind(problem)),
        None => kind(problem).to_owned(),
    };
    for each in &problem.subproblems {
        text.push_str(&format!("; {each}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::of_problem;
    use crate::Reason;
    use crate::trouble::Retry;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_limit_rests_as_long_as_the_authority_says_and_an_unknown_account_is_registered_anew() {
        let now = SystemTime::UNIX_EPOCH;
        let problem = |kind: &str| {
            let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"because"}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let at = now + Duration::from_secs(7);
        let limited = of_problem(&problem("rateLimited"), Some(at), now);
        assert_eq!((limited.reason, limited.retry), (Reason::Quota, Retry::At(at)));
        assert_eq!(limited.message, "the authority says rateLimited: because");
        let limited = of_problem(&problem("rateLimited"), None, now);
        assert_eq!(limited.retry, Retry::At(now + Duration::from_secs(3600)));
        assert_eq!(of_problem(&problem("accountDoesNotExist"), None, now).retry, Retry::Account);
        assert_eq!(of_problem(&problem("caa"), None, now).reason, Reason::Dns);
        assert_eq!(of_problem(&problem("somethingNew"), Some(at), now).retry, Retry::At(at));
    }
}

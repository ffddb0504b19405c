//! The short answers that we give ourselves before a request reaches the application.

use super::head::Refusal;
use crate::telemetry::Outcome;
use std::fmt::Write as _;

/// A whole HTTP/1.1 response that ends the connection: the reason as text.
pub(super) fn render(refusal: Refusal) -> String {
    let status = refusal.outcome.status().unwrap_or(400);
    let phrase =
        http::StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or("Refused");
    let extra = match refusal.outcome {
        // RFC 9110 §15.5.6: a 405 names the methods.
        Outcome::MethodRefused => "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE\r\n",
        Outcome::Overloaded => "Retry-After: 1\r\n",
        _ => "",
    };
    let mut answer = String::with_capacity(256);
    // Writing to a String can't fail.
    let _ = write!(
        answer,
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n{}\n",
        refusal.reason.len() + 1,
        refusal.reason,
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::{Refusal, render};
    use crate::telemetry::Outcome;

    #[test]
    fn an_answer_names_its_reason_and_ends_the_connection() {
        assert_eq!(
            render(Refusal::new(Outcome::Overloaded, "too many connections")),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n\
             Retry-After: 1\r\nConnection: close\r\n\r\ntoo many connections\n"
        );
        assert!(render(Refusal::new(Outcome::MethodRefused, "x")).contains("405 Method Not Allowed\r\n"));
        assert!(
            render(Refusal::new(Outcome::HeadTooLarge, "x"))
                .contains("431 Request Header Fields Too Large\r\n")
        );
    }
}

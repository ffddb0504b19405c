//! Which header fields pass between a request, its authoriser, its backend and its client.
//!
//! An authoriser is believed, but it speaks of a request whose framing, host and way are settled. What it could break or
//! forge with them it can't name: such a field is passed over.

use http::{HeaderMap, HeaderName, header};

/// Fields of one connection (RFC 9110 §7.6.1), and what frames a message.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
    "http2-settings",
];

/// Fields that speak of the message that they stand in, or of the server that sent it.
const OF_THE_ANSWER: [&str; 24] = [
    "accept-ranges",
    "age",
    "alt-svc",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "proxy-authenticate",
    "server",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "via",
    "www-authenticate",
];

/// Fields of a denial that the client gets whatever is listed: without them it can't go on from there, or can't read
/// the body.
const OF_A_DENIAL: [&str; 9] = [
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "location",
    "proxy-authenticate",
    "retry-after",
    "set-cookie",
    "www-authenticate",
];

/// Whether an authoriser of plain HTTP may get a field of the request beside those that it always gets.
pub(super) fn may_be_asked(name: &HeaderName) -> bool {
    !OF_THE_CONNECTION.contains(&name.as_str()) && *name != header::HOST
}

/// Whether an authoriser may set or remove a field of the request. The forwarding fields and those of client
/// certificates are the gateway's own word.
pub(super) fn may_be_set(name: &HeaderName) -> bool {
    let name = name.as_str();
    !OF_THE_CONNECTION.contains(&name)
        && name != "host"
        && name != "forwarded"
        && !name.starts_with("x-forwarded-")
        && !name.starts_with("x-envoy-")
}

/// Whether a field of an authoriser's answer may be a request's where none is named: it does not speak of the answer.
pub(super) fn may_be_copied(name: &HeaderName) -> bool {
    may_be_set(name) && !OF_THE_ANSWER.contains(&name.as_str())
}

/// Whether an authoriser may set a field of the client's answer.
pub(super) fn may_be_answered(name: &HeaderName) -> bool {
    !OF_THE_CONNECTION.contains(&name.as_str()) && !name.as_str().starts_with("x-envoy-")
}

/// Whether the client gets a field of a denial where only some are listed.
pub(super) fn is_of_denial(name: &HeaderName) -> bool {
    OF_A_DENIAL.contains(&name.as_str())
}

/// Whether a field of an answer was named by its `Connection`.
pub(super) fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut fields = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    fields.any(|field| field.split(',').any(|it| it.trim().eq_ignore_ascii_case(name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> HeaderName {
        HeaderName::from_static(text)
    }

    #[test]
    fn framing_host_and_the_gateways_own_word_are_nobody_elses() {
        let forbidden =
            ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "expect"];
        for it in forbidden {
            assert!(!may_be_set(&name(it)) && !may_be_copied(&name(it)), "{it}");
        }
        for it in ["x-forwarded-for", "x-forwarded-client-cert", "forwarded", "x-envoy-original-path"] {
            assert!(!may_be_set(&name(it)), "{it}");
        }
        for it in ["authorization", "cookie", "x-user", "content-type"] {
            assert!(may_be_set(&name(it)), "{it}");
        }
        assert!(!may_be_copied(&name("content-type")) && !may_be_copied(&name("set-cookie")));
        assert!(may_be_answered(&name("set-cookie")) && !may_be_answered(&name("content-length")));
    }
}

//! Every way a request can end, written once: status, log word and metric label.

/// How a request ended. The word ([`Outcome::word`]) is the same in the access log, in the metric label `outcome`
/// and in `sluice explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The backend's answer went to the client.
    Served,
    /// A redirect filter answered.
    Redirected,
    /// A CORS preflight was answered here.
    Preflight,
    /// The request's head breaks RFC 9110, 9112 or 9113, or its framing is ambiguous. The connection is closed.
    BadRequest,
    /// The head did not arrive in time.
    HeadTimeout,
    /// The head is larger than the limits allow.
    HeadTooLarge,
    /// The body is larger than the limits allow.
    BodyTooLarge,
    /// The body stalled.
    BodyTimeout,
    /// CONNECT is no method of a gateway.
    MethodRefused,
    /// No listener of the port answers for the host.
    NoListener,
    /// The host has no rule that matches.
    NoRoute,
    /// The connection's certificate belongs to another listener than the request's host (RFC 9110 §15.5.20).
    Misdirected,
    /// The rule has neither a backend nor a redirect.
    NoBackend,
    /// The chosen backend reference does not resolve.
    InvalidBackend,
    /// A filter of the rule does not resolve.
    InvalidFilter,
    /// The backend has no endpoint that takes requests.
    NoEndpoint,
    /// Connections of the port or of the client address, or pending requests of the backend, reached their limit.
    Overloaded,
    /// No endpoint accepted a connection.
    ConnectFailed,
    /// The endpoint closed or reset before a whole answer.
    UpstreamReset,
    /// The endpoint's answer breaks the protocol.
    UpstreamInvalid,
    /// The rule's request timeout passed.
    RequestTimeout,
    /// The rule's backend request timeout passed, or the endpoint stalled.
    BackendTimeout,
    /// The client left before the answer was complete.
    ClientGone,
    /// A fault of ours: counted, answered, never ends the process.
    Internal,
}

impl Outcome {
    /// All outcomes, for documentation and for metrics that start at 0.
    pub const ALL: [Self; 24] = [
        Self::Served,
        Self::Redirected,
        Self::Preflight,
        Self::BadRequest,
        Self::HeadTimeout,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::MethodRefused,
        Self::NoListener,
        Self::NoRoute,
        Self::Misdirected,
        Self::NoBackend,
        Self::InvalidBackend,
        Self::InvalidFilter,
        Self::NoEndpoint,
        Self::Overloaded,
        Self::ConnectFailed,
        Self::UpstreamReset,
        Self::UpstreamInvalid,
        Self::RequestTimeout,
        Self::BackendTimeout,
        Self::ClientGone,
        Self::Internal,
    ];

    /// Log word and metric label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Redirected => "redirected",
            Self::Preflight => "preflight",
            Self::BadRequest => "bad_request",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::MethodRefused => "method_refused",
            Self::NoListener => "no_listener",
            Self::NoRoute => "no_route",
            Self::Misdirected => "misdirected",
            Self::NoBackend => "no_backend",
            Self::InvalidBackend => "invalid_backend",
            Self::InvalidFilter => "invalid_filter",
            Self::NoEndpoint => "no_endpoint",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::RequestTimeout => "request_timeout",
            Self::BackendTimeout => "backend_timeout",
            Self::ClientGone => "client_gone",
            Self::Internal => "internal",
        }
    }

    /// Status of the answer that Sluice itself gives; `None` where the answer is somebody else's or none is given.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Served | Self::Redirected | Self::Preflight | Self::ClientGone => None,
            Self::BadRequest => Some(400),
            Self::NoListener | Self::NoRoute => Some(404),
            Self::MethodRefused => Some(405),
            Self::HeadTimeout | Self::BodyTimeout => Some(408),
            Self::BodyTooLarge => Some(413),
            Self::Misdirected => Some(421),
            Self::HeadTooLarge => Some(431),
            Self::NoBackend | Self::InvalidBackend | Self::InvalidFilter | Self::Internal => Some(500),
            Self::ConnectFailed | Self::UpstreamReset | Self::UpstreamInvalid => Some(502),
            Self::NoEndpoint | Self::Overloaded => Some(503),
            Self::RequestTimeout | Self::BackendTimeout => Some(504),
        }
    }

    /// `grpc-status` of the answer that a gRPC client gets in place of [`Outcome::status`]: 12 UNIMPLEMENTED for a
    /// miss (GEP-1016), 4 DEADLINE_EXCEEDED, 8 RESOURCE_EXHAUSTED, 13 INTERNAL, else 14 UNAVAILABLE.
    pub fn grpc_status(self) -> u8 {
        match self {
            Self::NoListener | Self::NoRoute | Self::Misdirected | Self::MethodRefused => 12,
            Self::RequestTimeout | Self::BackendTimeout | Self::HeadTimeout | Self::BodyTimeout => 4,
            Self::HeadTooLarge | Self::BodyTooLarge => 8,
            Self::BadRequest | Self::Internal => 13,
            _ => 14,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use std::collections::BTreeSet;

    #[test]
    fn every_outcome_has_its_own_word() {
        let words: BTreeSet<_> = Outcome::ALL.iter().map(|outcome| outcome.word()).collect();
        assert_eq!(words.len(), Outcome::ALL.len());
    }
}

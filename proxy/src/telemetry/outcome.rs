//! Every way a request can end, written once: log word and metric label, status, gRPC status, meaning.
//!
//! `docs/reference/outcomes.md` is written from this table.

use sluice_ir::Origin;

macro_rules! outcomes {
    ($($variant:ident $word:literal $status:expr, $grpc_status:literal, $meaning:literal;)*) => {
        /// How a request ended. The word ([`Outcome::word`]) is the same in the access log, in the metric label
        /// `outcome` and in `sluice explain`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Outcome {
            $(#[doc = $meaning] $variant,)*
        }

        impl Outcome {
            /// All outcomes in the order of their numbers, for documentation and for tables by outcome.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// Log word and metric label.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Status of the answer that Sluice itself gives; `None` where the answer is somebody else's or none is
            /// given.
            pub fn status(self) -> Option<u16> {
                match self { $(Self::$variant => $status,)* }
            }

            /// `grpc-status` of the answer that a gRPC client gets in place of [`Outcome::status`]: 12 UNIMPLEMENTED
            /// for a miss (GEP-1016), 4 DEADLINE_EXCEEDED, 7 PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED, 13 INTERNAL,
            /// 16 UNAUTHENTICATED, else 14 UNAVAILABLE.
            pub fn grpc_status(self) -> u8 {
                match self { $(Self::$variant => $grpc_status,)* }
            }

            /// What happened, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

outcomes! {
    Served "served" None, 14,
        "The backend's answer went to the client; a stream ended in both directions.";
    Cached "cached" None, 14,
        "An answer that a TrafficPolicy keeps went to the client; no backend was asked.";
    Redirected "redirected" None, 14,
        "A redirect filter answered.";
    Preflight "preflight" None, 14,
        "A CORS preflight was answered here.";
    Challenge "challenge" None, 14,
        "A challenge of a certificate authority (ACME HTTP-01) was answered here.";
    BadRequest "bad_request" Some(400), 13,
        "The request's head breaks RFC 9110, 9112 or 9113, or its framing is ambiguous. The connection is closed.";
    HeadTimeout "head_timeout" Some(408), 4,
        "The head did not arrive in time.";
    HeadTooLarge "head_too_large" Some(431), 8,
        "The head is larger than the limits allow.";
    BodyTooLarge "body_too_large" Some(413), 8,
        "The body is larger than the limits allow.";
    BodyUndecodable "body_undecodable" Some(400), 13,
        "The body is not in the coding that the request names, or is cut off, or goes on after its end (decompression).";
    UnsupportedEncoding "unsupported_encoding" Some(415), 12,
        "The body is in a coding that a TrafficPolicy does not take, or in several (decompression.otherEncodings).";
    BodyTimeout "body_timeout" Some(408), 4,
        "The body stalled.";
    MethodRefused "method_refused" Some(405), 12,
        "CONNECT is no method of a gateway.";
    ClientDenied "client_denied" Some(403), 7,
        "A TrafficPolicy does not let the client's address in.";
    Forbidden "forbidden" Some(403), 7,
        "An AuthorizationPolicy denies the request or connection, or there are such policies and none allows it.";
    RateLimited "rate_limited" Some(429), 8,
        "Requests come more often than a TrafficPolicy lets them.";
    RateUncounted "rate_uncounted" Some(503), 14,
        "The server of a TrafficPolicy's global rate limits gave no answer in time, and the policy says onFailure: Deny.";
    AuthDenied "auth_denied" None, 7,
        "An authoriser denied the request; the answer is the authoriser's.";
    AuthFailed "auth_failed" Some(503), 14,
        "An authoriser could not be asked, or its answer not be understood.";
    Unauthenticated "unauthenticated" Some(401), 16,
        "A token of the request is not valid, or the keys of its issuer are not there (RequestAuthentication).";
    FaultAborted "fault_aborted" None, 14,
        "A TrafficPolicy answered with an error on purpose (faults.abort).";
    NoListener "no_listener" Some(404), 12,
        "No listener of the port answers for the host.";
    NoRoute "no_route" Some(404), 12,
        "The host has no rule that matches.";
    EgressRefused "egress_refused" Some(502), 14,
        "A destination was asked for that no ServiceEntry lets be reached, or whose name leads inside.";
    PlaintextRefused "plaintext_refused" Some(403), 7,
        "The workload takes nothing but the mesh's TLS (PeerAuthentication STRICT), and the client spoke something else.";
    NotCaptured "not_captured" None, 14,
        "A connection came to a sidecar's own port and not by capture, or would have come back to it.";
    NotConfigured "not_configured" None, 14,
        "A sidecar had no configuration for the connection in time.";
    NoIdentity "no_identity" Some(503), 14,
        "The endpoint takes the mesh's TLS, and this workload has no certificate yet.";
    ServerNameMismatch "server_name_mismatch" Some(502), 14,
        "The TLS within a tunnel asked for another server than the tunnel did, or for none.";
    Misdirected "misdirected" Some(421), 12,
        "The connection's certificate belongs to another listener than the request's host (RFC 9110 §15.5.20).";
    NotCached "not_cached" Some(504), 14,
        "The client takes nothing but what is kept (only-if-cached), and it is not there.";
    NoBackend "no_backend" Some(500), 14,
        "The rule has neither a backend nor a redirect.";
    InvalidBackend "invalid_backend" Some(500), 14,
        "The chosen backend reference does not resolve.";
    InvalidFilter "invalid_filter" Some(500), 14,
        "A filter of the rule does not resolve.";
    NoEndpoint "no_endpoint" Some(503), 14,
        "The backend has no endpoint that takes requests.";
    NameUnresolved "name_unresolved" Some(502), 14,
        "The host that the client named has no address, or no DNS server says which.";
    Overloaded "overloaded" Some(503), 14,
        "A limit was reached: connections of the port or of the client address, pending requests of the backend, what \
         the adaptive limit of a TrafficPolicy lets a backend work on, or the room for requests that are buffered.";
    Overflow "overflow" Some(503), 14,
        "A limit of the backend's DestinationRule was reached: requests on their way or waiting, or connections.";
    ConnectFailed "connect_failed" Some(502), 14,
        "No endpoint accepted a connection.";
    UpstreamTls "upstream_tls" Some(502), 14,
        "TLS to the endpoint failed: it is not whom the policy names, it refused us, or the policy can't be used.";
    UpstreamReset "upstream_reset" Some(502), 14,
        "The endpoint closed or reset before a whole answer.";
    UpstreamInvalid "upstream_invalid" Some(502), 14,
        "The endpoint's answer breaks the protocol.";
    RequestTimeout "request_timeout" Some(504), 4,
        "The rule's request timeout passed.";
    BackendTimeout "backend_timeout" Some(504), 4,
        "The rule's backend request timeout passed, or the endpoint stalled.";
    ClientGone "client_gone" None, 14,
        "The client left before the answer was complete; a stream's client reset its connection.";
    Idle "idle" None, 14,
        "Nothing moved on a stream for the stream idle timeout, and it was closed.";
    Aged "aged" None, 14,
        "A stream was as old as its DestinationRule lets it become, and was closed.";
    Cut "cut" None, 14,
        "A stream was still there when its listener went, or at the drain deadline.";
    Internal "internal" Some(500), 13,
        "A fault of ours: counted, answered, never ends the process.";
}

impl Outcome {
    /// What a client is told in answers of ours: the word, but where Istio's users know another text.
    pub fn told(self) -> &'static str {
        match self {
            Self::Forbidden => "RBAC: access denied",
            other => other.word(),
        }
    }

    /// As [`Outcome::logged`], where `origin` is what let the request or stream through: whoever reaches what only a
    /// Sidecar allows, which names nothing, is noted in any case.
    pub fn logged_by(self, settings: sluice_ir::AccessLog, origin: Option<&Origin>) -> sluice_ir::AccessLog {
        match (self.logged(settings), origin) {
            (sluice_ir::AccessLog::Off, Some(origin)) if origin.kind == "Sidecar" => {
                sluice_ir::AccessLog::Text
            }
            (form, _) => form,
        }
    }

    /// How a record with this outcome is written where the settings say so. What egress refuses is written in any case:
    /// nobody must have switched on the evidence before.
    pub fn logged(self, settings: sluice_ir::AccessLog) -> sluice_ir::AccessLog {
        match (settings, self) {
            (sluice_ir::AccessLog::Off, Self::EgressRefused | Self::ServerNameMismatch) => {
                sluice_ir::AccessLog::Text
            }
            (settings, _) => settings,
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

    #[test]
    fn answers_of_ours_are_errors() {
        for outcome in Outcome::ALL {
            assert!(outcome.status().is_none_or(|status| (400..600).contains(&status)), "{outcome:?}");
            assert!((1..=16).contains(&outcome.grpc_status()), "{outcome:?}");
        }
    }
}

//! Outcomes in Envoy's words, which people search their logs and dashboards for: response flags and code details.

use super::Outcome;

/// Nothing to tell.
const NONE: &str = "-";

impl Outcome {
    /// Envoy's response flags (`%RESPONSE_FLAGS%`). `is_last_try`: a retry policy had no try left when it ended so.
    pub fn flags(self, is_last_try: bool) -> &'static str {
        match (self, is_last_try) {
            (Self::Served, true) => "URX",
            (Self::ConnectFailed | Self::UpstreamTls, false) => "UF",
            (Self::ConnectFailed | Self::UpstreamTls, true) => "UF,URX",
            (Self::UpstreamReset, false) => "UC",
            (Self::UpstreamReset, true) => "UC,URX",
            (Self::BackendTimeout, true) => "UT,URX",
            (Self::NoEndpoint, _) => "UH",
            (Self::Overflow | Self::Overloaded, _) => "UO",
            (Self::NoRoute | Self::NoListener | Self::Misdirected, _) => "NR",
            (Self::NoBackend | Self::InvalidBackend, _) => "NC",
            (Self::InvalidFilter, _) => "NFCF",
            (Self::NameUnresolved, _) => "DF",
            (Self::ClientGone, _) => "DC",
            (Self::RateLimited, _) => "RL",
            (Self::RateUncounted, _) => "RLSE",
            (Self::AuthDenied | Self::AuthFailed, _) => "UAEX",
            (Self::BadRequest | Self::HeadTooLarge | Self::BodyUndecodable, _) => "DPE",
            (Self::UpstreamInvalid, _) => "UPE",
            (Self::RequestTimeout | Self::BackendTimeout, _) => "UT",
            (Self::HeadTimeout | Self::BodyTimeout | Self::Idle, _) => "SI",
            (Self::FaultAborted, _) => "FI",
            (Self::Cut, _) => "LR",
            _ => NONE,
        }
    }

    /// The same of a connection that is carried whole, or would have been: what the mesh does not know leads to a cluster without
    /// endpoints there, and what is no TLS of the mesh finds no filter chain.
    pub fn flags_of_connection(self) -> &'static str {
        match self {
            Self::EgressRefused => "UH",
            Self::PlaintextRefused => "NR",
            other => other.flags(false),
        }
    }

    /// Envoy's response code details (`%RESPONSE_CODE_DETAILS%`): `via_upstream` for an endpoint's answer; where Envoy has
    /// no word, ours.
    pub fn code_details(self) -> &'static str {
        match self {
            Self::Served => "via_upstream",
            Self::Redirected => "direct_response",
            Self::NoRoute | Self::NoListener => "route_not_found",
            Self::NoEndpoint => "no_healthy_upstream",
            Self::NoBackend | Self::InvalidBackend => "cluster_not_found",
            Self::ConnectFailed | Self::UpstreamTls => {
                "upstream_reset_before_response_started{connection_failure}"
            }
            Self::UpstreamReset => "upstream_reset_before_response_started{connection_termination}",
            Self::UpstreamInvalid => "upstream_reset_before_response_started{protocol_error}",
            Self::Overflow | Self::Overloaded => "upstream_reset_before_response_started{overflow}",
            Self::RequestTimeout => "response_timeout",
            Self::BackendTimeout => "upstream_per_try_timeout",
            Self::ClientGone => "downstream_remote_disconnect",
            Self::RateLimited => "request_rate_limited",
            Self::RateUncounted => "rate_limiter_error",
            Self::Forbidden => "rbac_access_denied",
            Self::AuthDenied => "ext_authz_denied",
            Self::AuthFailed => "ext_authz_error",
            Self::Unauthenticated => "jwt_authn_access_denied",
            Self::FaultAborted => "fault_filter_abort",
            Self::HeadTooLarge => "request_headers_too_large",
            Self::BodyTooLarge => "request_payload_too_large",
            Self::HeadTimeout => "request_header_timeout",
            Self::BodyTimeout | Self::Idle => "stream_idle_timeout",
            Self::BadRequest => "http1.codec_error",
            other => other.word(),
        }
    }

    /// Envoy's flags for a refusal by RBAC and the like have no word: what is known of the connection's end
    /// (`%CONNECTION_TERMINATION_DETAILS%`).
    pub fn termination(self) -> Option<&'static str> {
        match self {
            Self::ServerNameMismatch | Self::EgressRefused => Some(self.word()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome;

    /// istio.md §5: the flags that users search for.
    #[test]
    fn the_flags_that_users_search_for_are_there() {
        for (outcome, flag) in [
            (Outcome::NoEndpoint, "UH"),
            (Outcome::ConnectFailed, "UF"),
            (Outcome::Overflow, "UO"),
            (Outcome::NoRoute, "NR"),
            (Outcome::UpstreamReset, "UC"),
            (Outcome::ClientGone, "DC"),
            (Outcome::RateLimited, "RL"),
            (Outcome::AuthDenied, "UAEX"),
            (Outcome::BadRequest, "DPE"),
            (Outcome::Served, "-"),
        ] {
            assert_eq!(outcome.flags(false), flag, "{outcome:?}");
        }
        assert_eq!(Outcome::ConnectFailed.flags(true), "UF,URX");
        assert_eq!(Outcome::Served.flags(true), "URX");
        assert_eq!(Outcome::EgressRefused.flags_of_connection(), "UH");
    }

    #[test]
    fn flags_and_details_need_no_escaping() {
        let plain = |text: &str| text.bytes().all(|it| it.is_ascii_graphic() && it != b'"' && it != b'\\');
        for outcome in Outcome::ALL {
            assert!(plain(outcome.flags(true)) && plain(outcome.flags(false)), "{outcome:?}");
            assert!(plain(outcome.code_details()), "{outcome:?}");
        }
    }
}

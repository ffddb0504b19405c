//! Every metric of a data plane: name, kind, labels, meaning. Nothing is exposed that is not listed here, and
//! `docs/reference/metrics.md` is written from this list.
//!
//! Cardinality: labels hold what an operator configured (Gateways, routes, backends, ports) or closed sets
//! (outcomes, status classes, resource kinds). Nothing that a client sends becomes a label.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process or the labelled object ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values in buckets, with their sum.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Name as scraped; a histogram appends `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Label names, in the order of exposition.
    pub labels: &'static [&'static str],
    /// Meaning, as one sentence without full stop.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: MetricInfo =
                MetricInfo { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*
        /// All metrics, in the order of exposition.
        pub const ALL: &[MetricInfo] = &[$($constant),*];
    };
}

metrics! {
    BUILD: Gauge "sluice_build_info" ["version"]
        "Always 1; the labels name the running build";
    REQUESTS: Counter "sluice_requests_total" ["gateway", "route", "outcome", "code_class"]
        "Requests that ended, by how they ended and by the class of the status that the client got";
    REQUEST_DURATION: Histogram "sluice_request_duration_seconds" ["gateway", "route"]
        "Time from the end of the request head to the end of the answer";
    REQUEST_BYTES: Counter "sluice_request_body_bytes_total" ["gateway", "route"]
        "Body bytes received from clients";
    RESPONSE_BYTES: Counter "sluice_response_body_bytes_total" ["gateway", "route"]
        "Body bytes sent to clients";
    RETRIES: Counter "sluice_retries_total" ["gateway", "route"]
        "Further tries of requests whose earlier try failed";
    HEDGES: Counter "sluice_hedged_tries_total" ["gateway", "route", "result"]
        "Tries that were begun beside a slow one, by result: won, when their answer was used, or lost; and those that the \
         budget refused";
    STREAMS: Counter "sluice_streams_total" ["gateway", "route", "outcome"]
        "Connections that were carried whole, and sessions of datagrams, that ended, by how they ended";
    STREAMS_OPEN: Gauge "sluice_streams_open" ["gateway", "route"]
        "Connections that are carried whole, and sessions of datagrams, now";
    STREAM_RECEIVED: Counter "sluice_stream_received_bytes_total" ["gateway", "route"]
        "Bytes carried from clients to endpoints";
    STREAM_SENT: Counter "sluice_stream_sent_bytes_total" ["gateway", "route"]
        "Bytes carried from endpoints to clients";
    DATAGRAMS_DROPPED: Counter "sluice_datagrams_dropped_total" ["gateway", "route"]
        "Datagrams that went nowhere: no endpoint, a limit of sessions, or no room in a socket";
    REQUESTS_IN_FLIGHT: Gauge "sluice_requests_in_flight" []
        "Requests that are being served now";
    CONNECTIONS: Counter "sluice_connections_total" ["address"]
        "Connections accepted";
    CONNECTIONS_OPEN: Gauge "sluice_connections_open" ["address"]
        "Connections open now";
    CONNECTIONS_REFUSED: Counter "sluice_connections_refused_total" ["address", "reason"]
        "Connections that were closed, with a short answer where possible, before they had a valid request; \
         the reason is an outcome";
    TLS_FAILURES: Counter "sluice_tls_handshake_failures_total" ["address"]
        "TLS handshakes that failed or did not end in time";
    CONNECT_FAILURES: Counter "sluice_upstream_connect_failures_total" ["backend"]
        "Connections to endpoints of the backend that could not be opened";
    AUTH_CHECKS: Counter "sluice_ext_auth_checks_total" ["backend", "result"]
        "Questions to authorisers, by result: allowed; denied; failed and the request was refused; or passed, which is \
         failed and the request went on as the settings say";
    DRY_RUN: Counter "istio_dry_run_requests_total" ["gateway", "authz_dry_run_action", "authz_dry_run_result"]
        "Requests and connections that AuthorizationPolicies in a dry run were asked about, by their action, allow or deny, \
         and what would have come of it, allowed or denied";
    ENDPOINTS: Gauge "sluice_endpoints" ["endpoint_set", "state"]
        "Endpoints now: ready, draining, resting after consecutive failures, or unhealthy by their health checks (also \
         those that wait for their first good one)";
    ENDPOINT_REQUESTS: Gauge "sluice_endpoint_requests_in_flight" ["endpoint_set"]
        "Requests that endpoints of the set are working on now";
    EJECTIONS: Counter "sluice_endpoint_ejections_total" ["endpoint_set"]
        "Rests of endpoints after consecutive failures";
    HEALTH_CHECKS: Counter "sluice_health_checks_total" ["endpoint_set", "result"]
        "Health checks of endpoints of the set, by result: passed or failed";
    MIRRORS: Counter "sluice_mirrors_total" ["result"]
        "Copies of requests, by result: completed; refused because too many were on their way; overflowed because the \
         receiver was slower than the client; abandoned because the request itself ended early; or failed";
    CACHE: Counter "sluice_cache_requests_total" ["result"]
        "Requests that a cache was asked for, by result: hit; stale, as the answer allowed; revalidated by the backend; \
         stored, the backend's answer that was kept; or passed, one that was not";
    COMPRESSED: Counter "sluice_compressed_responses_total" ["encoding"]
        "Answers that were compressed, by coding";
    COMPRESSION_BYTES: Counter "sluice_compression_bytes_total" ["encoding", "side"]
        "Bytes of their bodies, by side: in, as backends sent them, and out, as clients got them";
    COMPRESSION_SKIPPED: Counter "sluice_compression_skipped_total" []
        "Answers that went as they were because as many as allowed were being compressed";
    UNPACKED: Counter "sluice_decompressed_requests_total" ["encoding"]
        "Requests whose body was unpacked, by coding";
    BUFFERED_BYTES: Gauge "sluice_buffered_request_bytes" []
        "Bytes of the room that requests take now which are read before an endpoint is chosen";
    CONCURRENCY_LIMIT: Gauge "sluice_concurrency_limit" ["policy", "backend"]
        "Requests that the adaptive limit of the policy lets the backend work on at one time, now";
    CONCURRENCY_REQUESTS: Gauge "sluice_concurrency_requests_in_flight" ["policy", "backend"]
        "Requests that count against the adaptive limit now";
    CONCURRENCY_REFUSED: Counter "sluice_concurrency_refused_total" ["policy", "backend"]
        "Requests that the adaptive limit of the policy refused";
    RATE_DECISIONS: Counter "sluice_rate_limit_global_requests_total" ["policy", "result"]
        "Requests that global rate limits of a TrafficPolicy were asked about, by result: allowed or refused by the \
         server's count; or, without an answer of it, failed_allowed or failed_denied as the policy's onFailure says";
    RATE_FAILURES: Counter "sluice_rate_limit_failures_total" ["policy", "reason"]
        "Requests without an answer of the server of global rate limits, by reason: down (no connection), overflow (too \
         many wait), timeout, broken (the connection ended meanwhile), or error (the server's answer)";
    RATE_SERVERS: Gauge "sluice_rate_limit_server_up" ["server"]
        "1 while there is a connection to the server of global rate limits, named HOST:PORT/DATABASE; else 0";
    JWT_REQUESTS: Counter "sluice_jwt_requests_total" ["result"]
        "Requests that RequestAuthentications judged, by result: anonymous, without a token; verified; known, verified \
         before; or why a token was refused";
    JWKS_FETCHES: Counter "sluice_jwks_fetches_total" ["issuer", "result"]
        "Fetches of the keys of an issuer that a RequestAuthentication names, by result: fetched, or why not";
    PANICS: Counter "sluice_panics_total" []
        "Faults of ours that ended a request or connection; always worth a report";
    CONFIG_APPLIES: Counter "sluice_config_applies_total" ["result"]
        "Configurations received, by result: applied, or failed and the last good one stays";
    CONFIG_APPLY_SECONDS: Gauge "sluice_config_last_apply_duration_seconds" []
        "How long the newest applied configuration took from receipt to serving";
    CONFIG_LISTENERS_REFUSED: Gauge "sluice_config_listeners_refused" []
        "Listeners of the newest configuration that can't be served: address in use, certificate unreadable";
    CONFIG_RESOURCES: Gauge "sluice_config_resources" ["kind"]
        "Resources of the configuration that is served";
    ACCESS_LOG_RECORDS: Counter "sluice_access_log_records_total" ["result"]
        "Access log records, by result: written, dropped because the writer was behind, or lost because the output \
         failed";
    TRACE_SPANS: Counter "sluice_trace_spans_total" ["result"]
        "Spans of recorded requests, by result: exported; dropped because too many waited; or failed, when the collector did \
         not take them";
    PROCESS_CPU: Counter "process_cpu_seconds_total" []
        "User and system CPU time of the process";
    PROCESS_RESIDENT: Gauge "process_resident_memory_bytes" []
        "Resident memory of the process";
    PROCESS_OPEN_FDS: Gauge "process_open_fds" []
        "Open file descriptors";
    PROCESS_MAX_FDS: Gauge "process_max_fds" []
        "Most file descriptors that the process may have open";
    PROCESS_THREADS: Gauge "process_threads" []
        "Threads of the process";
    PROCESS_START: Gauge "process_start_time_seconds" []
        "Start of the process in seconds since 1970";
}

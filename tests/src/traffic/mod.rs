//! `traffic.yaml` of a fixture: requests that are sent through a real gateway, and what must come of them.
//!
//! ```yaml
//! recorders: [shadow]            # services that only record; their counts are checked at the end
//! tls:                           # services that speak TLS; authorities are those of tests/pki
//!   cart: {certificate: {signed_by: first, names: [a.example], uris: ["spiffe://a"]}, asks_for: second}
//! steps:
//! - request: {method: GET, url: "http://a.example/x?q=1", headers: {x-a: b}, body: text, http: 2, sni: b.example}
//!   expect:
//!     status: 200
//!     backend: v1                # who answered; null: nobody but the gateway
//!     path: /y                   # what the backend saw: path, query, host, method, body, protocol
//!     headers: {x-c: d, x-e: null, x-f: "*"}   # of the answer; null: absent, *: present
//!     backend_headers: {x-g: h}  # of the request that the backend saw, in the same way
//!     body_contains: text
//!     grpc_status: 12
//!     handshake: {server_name: a.example, certificate: client.example}   # that the TLS backend saw; null: none
//!     refused: true              # the gateway closes the connection without an answer
//!   times: 100
//!   share: {v1: 90, v2: 10, 500: 5}   # exact counts by backend, or by status where no backend answered
//! - apply: steps/01.yaml         # a step of the fixture takes place here
//! recorded: {shadow: 10}
//! ```

mod check;
mod format;
mod run;

pub use format::{Expect, Share, Step, Traffic, Wanted};
pub use run::run;

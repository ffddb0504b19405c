//! Ports, connections and TLS against real sockets on loopback, with a small application in place of the proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client_certificates;
mod corpus;
mod drain;
mod http1;
mod http2;
mod limits;
mod pingora;
mod ports;
mod proxy_protocol;
mod refusals;
mod support;
mod tls;

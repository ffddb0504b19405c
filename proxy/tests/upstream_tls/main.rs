//! TLS towards backends, through a whole proxy and against real rustls servers on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend;
mod connections;
mod gateway;
mod pki;
mod protocols;
mod verification;

//! What the tests of this folder share: a gateway with backends on loopback, small clients that show every byte, and a
//! harness for the real binary.
//!
//! [`Stand`] is manifests in, a running gateway out, with an echo behind each endpoint. [`client`] speaks HTTP/1.1 and
//! HTTP/2 to it, [`Recorder`] is a backend that keeps what it received, [`Sluice`] is the process. Nothing here waits
//! for a time to pass: it waits for a condition, with a deadline. Everything is on loopback.
//!
//! A helper that meets a surprise panics, so that the test which asked fails with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod acme;
pub mod backends;
pub mod client;
pub mod dnsmasq;
pub mod ir_samples;
mod issuer;
pub mod load;
pub mod manifests;
pub mod pki;
mod places;
mod process;
mod recorder;
mod redis;
mod stand;
pub mod tls;
mod tls_backend;
pub mod traffic;
mod wait;

pub use client::{Answer, Ask, Ended, H2, Wire};
pub use issuer::{Issuer, TokenKey, now_s, part};
pub use places::loopback;
pub use process::{Sluice, binary, readiness};
pub use recorder::{Received, Recorder, Reply};
pub use redis::RedisServer;
pub use stand::{Endpoints, PORT_OFFSET, Stand};
pub use tls_backend::{Handshake, TlsBackend, TlsBackendOptions};
pub use wait::{DEADLINE, eventually, soon};

//! Two sidecars on loopback: what the application beside one sends to the application beside the other. Where connections
//! were going is told to them in place of the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod app;
mod health;
mod inbound;
mod introductions;
mod outbound;
mod pki;
mod rotation;
mod sidecar;
mod telemetry;
mod tls;
mod under_way;

//! The control plane on Kubernetes: watches objects, translates them, writes statuses, provisions gateways and
//! streams deltas to them.

mod accept;
pub mod acme;
pub mod admin;
pub mod backoff;
pub mod ca;
pub mod controller;
pub mod identity;
pub mod inject;
pub mod lease;
pub mod logging;
pub mod names;
mod outlets;
pub mod provision;
pub mod reconcile;
pub mod serve;
pub mod settings;
pub mod staple;
pub mod status;
pub mod tickets;
pub mod watch;

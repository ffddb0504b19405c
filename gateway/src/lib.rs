//! The edge data plane: the proxy core, its admin server and its life: start, apply, drain.
//!
//! In: deltas of the IR, from whoever translates in the same process (the CLI in standalone use) or from a controller
//! ([`run`], what the binary `sluice-gateway` does). It knows no Kubernetes type.

pub mod duration;
mod gateway;
mod logging;
pub mod run;
pub mod signal;

pub use gateway::{Gateway, GatewayOptions};
pub use logging::init_tracing;

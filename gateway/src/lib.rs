//! The edge data plane: the proxy core, its admin server and its life: start, apply, drain.
//!
//! In: deltas of the IR, from whoever translates in the same process (the CLI in standalone use) or from a controller
//! ([`run`], what the binary `sluice-gateway` does). It knows no Kubernetes type.

mod gateway;
pub mod run;

pub use gateway::{Gateway, GatewayOptions};

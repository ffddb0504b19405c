//! The edge data plane: the proxy core, its admin server and its life: start, apply, drain.
//!
//! In: deltas of the IR from whoever translates (the CLI in standalone use). It knows no Kubernetes type and no file.

mod gateway;
mod logging;

pub use gateway::{Gateway, GatewayOptions};
pub use logging::init_tracing;

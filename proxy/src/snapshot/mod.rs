//! The configuration as the request path reads it: compiled from the IR, immutable, shared by pointer.
//!
//! [`Compiler`] takes deltas and makes a [`Runtime`]; unchanged routes, tables and TLS configurations are shared with
//! the one before. A request loads the runtime once and then follows pointers: port → listener → rule → backend.

mod asked;
mod authenticators;
mod authorizations;
mod checks;
mod compiler;
mod levels;
mod mesh;
mod ports;
mod rule;
mod runtime;
mod streams;
mod telemetry;
mod tls;
mod touched;

pub use compiler::{Compiled, Compiler};
pub use mesh::{ByHost, MeshRuntime};
pub use ports::{BindPlan, PlannedPort};
pub use runtime::{
    BackendRuntime, ListenerRuntime, MirrorRuntime, Port, RouteRuntime, RuleBackend, RuleHandle, RuleRuntime,
    Runtime,
};
pub use streams::{StreamListener, StreamPort, StreamRuntime};
pub use telemetry::PortTelemetry;
pub use tls::BackendTls;

//! The proxy core on Pingora, shared by every data plane of Sluice.
//!
//! In: an [`ir::Snapshot`](sluice_ir::Snapshot). Out: bound listeners that serve it. It never sees a Kubernetes
//! type, never talks to an API server and holds no credential but the certificates of its listeners.

pub mod listen;
pub mod telemetry;
pub mod tls;
pub mod upstream;

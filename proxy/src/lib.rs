//! The proxy core on Pingora, shared by every data plane of Sluice.
//!
//! In: an [`ir::Delta`](sluice_ir::Delta). Out: bound ports that serve it. It never sees a Kubernetes type, never
//! talks to an API server and holds no credential but the certificates of its listeners.
//!
//! The way of a request: [`listen`] accepts, sniffs and terminates TLS ([`tls`]); [`http`] decides, asks the policies
//! that hold ([`policy`]) and authorisers (`auth`), filters and answers; what is carried whole (TLS by server name, TCP, UDP) takes the shorter way of `stream`; [`upstream`] chooses an endpoint; [`telemetry`] records. [`snapshot`] is what they read, and [`sync`]
//! fetches it from a controller. [`identity`] says who the data plane is to others of a mesh.

pub mod acme;
pub mod admin;
mod auth;
mod generation;
mod hosts;
pub mod http;
pub mod identity;
mod jwks;
pub mod listen;
pub mod mesh;
pub mod policy;
pub mod process;
mod proxy;
mod redis;
pub mod snapshot;
mod stream;
pub mod sync;
pub mod telemetry;
pub mod tls;
pub mod upstream;
mod watcher;

pub use proxy::{Proxy, ProxyOptions};

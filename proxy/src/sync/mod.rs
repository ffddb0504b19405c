//! Configuration from a controller: the client of the delta xDS that `controller/src/serve` speaks.
//!
//! In: the address of a controller, the authority that vouches for it and a token that says who this data plane is,
//! both read from files again for each connection. Out: batches applied to a [`Proxy`](crate::Proxy), each as a
//! whole, and an answer for each. What was applied last also rests on the disk, so that a data plane that starts while
//! the controller is away serves what it served before.
//!
//! A sidecar follows what governs the workloads of its namespace, and asks for destinations when somebody calls them
//! ([`OnDemand`]): it holds what it calls, and nothing else of the cluster.
//!
//! A resource that can't be read is refused and named to the controller; its last good version stays, and all others
//! of its batch are served. A stream that breaks changes nothing: the next one goes on where it was. It decides
//! nothing about the configuration and holds no Kubernetes credential.

mod ask;
mod backoff;
mod client;
mod disk;
mod files;
mod held;
mod on_demand;
mod save;

pub(crate) use backoff::Backoff;
pub use client::{SyncClient, SyncOptions, SyncState};
pub(crate) use files::{read, token};
pub use on_demand::{OnDemand, Wanted};

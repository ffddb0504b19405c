//! The mesh: what sidecars may call, and what governs workloads.
//!
//! A destination is a Service or ServiceEntry. It becomes a Gateway of its own with a listener for each port (`places`,
//! `speech`), the routes whose parent it is (GAMMA, GEP-1294) or default ones that lead to its own endpoints (`compute`),
//! and, where clients of some namespace follow other rules or routes than all others do, the same once more for them.
//! `attach` is the side of the routes. `workloads` puts together what governs the workloads of a namespace, `peer` says which
//! workload an endpoint is, `scopes` what Sidecars leave workloads of all this.
//!
//! Without a mesh (no pod has a sidecar, no namespace asks for any) nothing of all this is computed.

mod attach;
mod compute;
mod peer;
mod peers;
mod places;
mod scopes;
mod speech;
mod workloads;

pub(crate) use attach::attach;
pub(crate) use compute::{MeshOutput, MeshParent, backend_ids, compute};
pub(crate) use peer::{Peers, of_entry};
pub(crate) use peers::compute as peer_authentication;
pub(crate) use workloads::compute as workloads;

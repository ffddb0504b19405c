//! AuthorizationPolicies, compiled: who may do what. Pure: facts in, a verdict out.
//!
//! In: the policies of a Gateway or workload, once, and the [`Facts`] of a request or connection. Out: which authorisers
//! are to be asked ([`AuthorizationRuntime::asks`]), and whether it may go on ([`AuthorizationRuntime::check`]). The order
//! is Istio's: CUSTOM, DENY, ALLOW; AUDIT marks; policies of a dry run are judged beside it and only told.
//!
//! Rules are found by what they name: a path, a host, a method, a port, a principal (`index`). Only the few that are found so
//! are looked at in full (`rule`, `text`), so that a request costs the same beside ten rules and ten thousand that have
//! nothing to do with it. A path that backends may read in several ways must pass in each of them (`sluice_route::readings`).

mod facts;
mod group;
mod index;
mod policy;
mod rule;
mod runtime;
mod stream;
#[cfg(test)]
mod tests;
mod text;

pub use facts::{Facts, Peer, RequestFacts, Token};
pub use policy::PolicyRule;
pub use runtime::{AuthorizationRuntime, Judged, Verdict};

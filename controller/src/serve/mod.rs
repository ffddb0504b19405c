//! Distribution: configuration to the data planes, and what they say about it.
//!
//! In: [`Distributor::publish`] with every delta of the translation. Out: streams of delta xDS, each with exactly what
//! belongs to its data plane's Gateway, and [`GatewaySync`]: who has acknowledged what. Data planes come over TLS with
//! the token of their service account ([`Authenticator`]), and get nothing but their own Gateway's resources. It
//! translates nothing and writes no status.
//!
//! A sidecar gets what governs the workloads of its namespace, and of the mesh the destinations that it asks for.
//!
//! `store` knows what belongs to whom (`attached`: what it must know of routes, `places`: where destinations are found), `session` what each stream still has to get, `distributor` puts the two
//! together, `stream` speaks with one data plane, `listen` holds the port, `peers` and
//! `watch_peers` join the replicas of the controller, `obtain` answers names of handshakes. The same port answers
//! workloads that ask for certificates ([`identity`](crate::identity)).

mod attached;
mod auth;
mod cache;
mod distributor;
mod hello;
mod limits;
mod listen;
mod obtain;
mod peers;
mod places;
mod session;
mod store;
mod stream;
mod sync;
mod token_review;
mod watch_peers;

pub use auth::{AUDIENCE, Authenticator, Denied, MESH_AUDIENCE, ProxyIdentity};
pub(crate) use auth::{bearer, owner};
pub use distributor::Distributor;
pub use listen::{PeerChain, ServeOptions, serve};
pub use obtain::{Names, Others};
pub use peers::PeerIdentity;
pub use sync::{GatewaySync, ProxySync, RefusedResource};
pub use token_review::TokenReviewer;
pub use watch_peers::{PeerOptions, follow, watch_peers};

#[cfg(test)]
mod tests;

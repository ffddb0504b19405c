//! Certificates from an ACME authority (RFC 8555): accounts, orders, challenges, renewal and budgets.
//!
//! In: issuers and wanted certificates as a watch, single names from handshakes ([`Handle::on_demand`]), a [`Store`]
//! that keeps what must outlive the process, and [`Challenges`] that makes the data plane answer. Out: certificates in
//! the store and a [`Status`] for each. Cancelled anywhere, another [`Engine`] on the same store goes on with the same
//! order. It knows nothing of Kubernetes, Pingora or the translation; who leads is decided outside.

mod challenge;
mod client;
mod dns;
mod engine;
mod issuer;
mod order;
mod plan;
mod preflight;
mod secret;
mod state;
mod store;
mod trouble;
mod wanted;

pub use challenge::{Answer, Challenge, ChallengeError, ChallengeId, Challenges, Kind};
pub use engine::{Clock, Engine, Handle, Refused, Settings};
pub use issuer::{
    AccountBinding, Budgets, Dns01, DomainSelector, Issuer, KeyType, OnDemand, Preflight, Rfc2136, Solver,
    SolverKind, TsigAlgorithm, Webhook,
};
pub use secret::Secret;
pub use state::{Current, IssuerState, Reason, State, Status};
pub use store::{Data, Entry, FolderStore, Item, Store, StoreError, Version};
pub use wanted::{CertificateKey, IssuerName, Scope, Wanted, WantedSet};

//! The webhook: the API server asks for each new pod of namespaces that want sidecars.
//!
//! `review` answers one question, a function; `server` takes questions by HTTPS with bounds on everything; `registration`
//! keeps the API server's trust in the certificate. Which pods are asked about at all says `deploy/base/webhook.yaml`,
//! so that pods of other namespaces don't depend on this.

mod registration;
mod review;
mod server;

pub use registration::{NAME, keep as keep_registration};
pub use review::answer;
pub use server::serve;

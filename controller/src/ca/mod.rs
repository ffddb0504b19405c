//! The controller's own certificate authority: what data planes trust when they connect.
//!
//! The authority rests in one Secret of the controller's namespace, made by whichever replica comes first, and read by
//! all. Each replica signs a serving certificate for itself and keeps its key in memory only. Both are renewed before
//! they end, without a restart: `root` makes certificates, `kept` says what the Secret must hold when, `serving` is
//! what TLS uses, and [`Authority`] is the only part that talks to the API server.

mod authority;
mod kept;
mod root;
mod serving;

pub use authority::{Authority, SECRET};
pub use root::{CaError, Root};
pub use serving::ServingCertificate;

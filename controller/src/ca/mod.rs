//! The controller's own certificate authority: what data planes trust when they connect.
//!
//! The authority rests in one Secret of the controller's namespace, made by whichever replica comes first, and read by
//! all. Each replica signs a serving certificate for itself and keeps its key in memory only. Both are renewed before
//! they end, without a restart: `root` makes certificates, `kept` says what the Secret must hold when, `store` is the way
//! to the Secret, `serving` what TLS uses, and [`Authority`] runs them. The authority of workloads
//! ([`identity`](crate::identity)) is made of the same parts and is another authority.

mod authority;
mod kept;
mod root;
mod serving;
mod store;

pub(crate) use kept::Kept;
pub(crate) use root::{DAY_S, Profile, validity};
pub(crate) use store::{Data, Step, Store};

pub use authority::{Authority, SECRET};
pub use root::{CaError, Root};
pub use serving::ServingCertificate;

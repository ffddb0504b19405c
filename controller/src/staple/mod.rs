//! OCSP stapling (RFC 6066 §8, RFC 6960) of certificates that ask for it (must-staple, RFC 7633).
//!
//! Clients of such a certificate refuse it without a fresh response of its authority, so somebody has to fetch one:
//! the controller, or `sluice run`, never a data plane. [`Stapler::attach`] puts what is known into the certificates of
//! a delta and takes note of new ones; [`Stapler::news`] tells which certificates must be handed out again, and how each
//! stands. A certificate whose response can't be had is handed out without, which its listeners' statuses tell; others
//! are not concerned.
//!
//! `need` reads what a certificate asks for, `request` and `response` are RFC 6960, `fetch` is HTTP, `keeper` the loop,
//! `standing` what is told.

mod der;
mod fetch;
mod keeper;
mod need;
#[cfg(test)]
mod pki;
mod request;
mod response;
mod standing;

pub use keeper::{News, Stapler};
pub use standing::without_asking;

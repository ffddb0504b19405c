//! OCSP stapling (RFC 6066 §8, RFC 6960) of certificates that ask for it (must-staple, RFC 7633).
//!
//! Clients of such a certificate refuse it without a fresh response of its authority, so somebody has to fetch one:
//! the controller, or `sluice run`, never a data plane. [`Stapler::attach`] puts what is known into the certificates of
//! a delta and takes note of new ones; [`Stapler::changed`] tells which certificates must be handed out again. A
//! certificate whose response can't be had is handed out without, which is told; others are not concerned.
//!
//! `need` reads what a certificate asks for, `request` and `response` are RFC 6960, `fetch` is HTTP, `keeper` the loop.

mod der;
mod fetch;
mod keeper;
mod need;
mod request;
mod response;

pub use keeper::Stapler;

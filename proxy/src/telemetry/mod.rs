//! What an operator sees: outcomes, metrics, the access log.

mod outcome;

pub use outcome::Outcome;

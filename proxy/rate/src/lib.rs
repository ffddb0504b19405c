//! How often each of many keys may come.
//!
//! In: a key's hash and the time. Out: whether it is let through, what it has left, and how long to wait. [`Quota`] is the
//! arithmetic (GCRA, the generic cell rate algorithm of ITU-T I.371: one number for a key), [`Limiter`] the table of keys.
//!
//! What holds: a check takes no lock and allocates nothing but a page of the table on its first use; memory has a bound;
//! and a key that is pushed out of the table wins nothing by it, nor does the one that pushes.
//!
//! What is deliberately absent: clocks, Pingora, tokio, what a key is made of.

mod key;
mod limiter;
mod quota;

pub use key::{KeyHasher, KeySeed};
pub use limiter::Limiter;
pub use quota::{Decision, Quota};

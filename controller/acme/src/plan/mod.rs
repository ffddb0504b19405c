//! What is decided without asking anybody: names, solvers, budgets, renewal and pauses. Pure; time comes in as argument.

pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod names;
pub(crate) mod renewal;
pub(crate) mod solvers;

use sha2::{Digest as _, Sha256};

/// A number in 0..1 that is the same for the same words everywhere: jitter that a test can compute, and that two engines
/// agree on.
pub(crate) fn fraction(words: &[&str]) -> f64 {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    let bytes = hash.finalize();
    let number = bytes.iter().take(4).fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

//! A fault of ours in one request is that request's answer, never the end of the process.

use pingora_error::{Error, ErrorType, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a synchronous phase. A panic becomes an internal error, which is answered with 500 and counted; what the
/// phase changed so far is dropped with the request.
pub(crate) fn contained<T>(phase: &'static str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        tracing::error!(phase, "panic while handling a request");
        Error::e_explain(ErrorType::Custom(PANIC), phase)
    })
}

/// Marks errors that stand for a panic.
pub(crate) const PANIC: &str = "panic";

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_of_its_phase() {
        let result: Result<()> = contained("route", || panic!("fault"));
        assert!(result.is_err_and(|error| *error.etype() == ErrorType::Custom(PANIC)));
        assert!(contained("route", || Ok(1)).is_ok_and(|value| value == 1));
    }
}

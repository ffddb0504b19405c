//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take on a machine that is busy with something else.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The future's value, or a failed test that says what did not happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {DEADLINE:?}"),
    }
}

/// Asks again and again until the answer is yes, and returns how long that took.
pub async fn eventually<F>(what: &str, mut condition: impl FnMut() -> F) -> Duration
where
    F: Future<Output = bool>,
{
    let started = Instant::now();
    while !soon(what, condition()).await {
        assert!(started.elapsed() < DEADLINE, "{what}: did not become true within {DEADLINE:?}");
        sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}

//! Waiting for a condition, never for a time.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long anything in a cluster may take on a machine that is busy with something else.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks every few milliseconds until the answer is `Ok`, and returns it. After [`DEADLINE`] it panics with the reason of
/// the last answer.
pub async fn eventually<T, E: std::fmt::Display>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(reason) => {
                assert!(started.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}: {reason}");
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

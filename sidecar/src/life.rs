//! The sidecar's life: it starts before the workload, and ends after it.
//!
//! Two steps lead to its end. First the end is announced: whoever asks is told that no more traffic is welcome, clients
//! on open connections are told to open no more on them, and whoever comes all the same is served. Then, on an order to
//! end, connections are taken until nobody has one for a moment, or the drain's time is over; what is then under way is
//! finished.

use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often connections are counted.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long nobody must have had a connection: word of an end takes a moment to reach everybody.
const QUIET: Duration = Duration::from_secs(1);

/// Orders, and who waits for them. A clone is the same life.
#[derive(Clone, Debug, Default)]
pub struct Life {
    announced: watch::Sender<bool>,
    end: CancellationToken,
}

impl Life {
    /// The end is near: no more traffic, please.
    pub fn announce_end(&self) {
        self.announced.send_replace(true);
    }

    /// Ends.
    pub fn end(&self) {
        self.announce_end();
        self.end.cancel();
    }

    /// Waits until the end is near.
    pub async fn near_end(&self) {
        // The sender is held here: it can't be gone.
        let _ = self.announced.subscribe().wait_for(|near| *near).await;
    }

    /// Waits for the order to end.
    pub async fn ordered(&self) {
        self.end.cancelled().await;
    }
}

/// Waits until nobody has had a connection for a moment, but no longer than `most`.
pub async fn until_quiet(connections: impl Fn() -> usize, most: Duration) {
    let started = Instant::now();
    let mut quiet_since = None;
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while started.elapsed() < most {
        look.tick().await;
        quiet_since = if connections() == 0 { quiet_since.or_else(|| Some(Instant::now())) } else { None };
        if quiet_since.is_some_and(|since| since.elapsed() >= QUIET) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, until_quiet};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_quiet_but_not_for_ever() {
        let most = Duration::from_secs(5);
        let started = Instant::now();
        until_quiet(|| 0, most).await;
        assert!(started.elapsed() < Duration::from_millis(1200), "{:?}", started.elapsed());
        let started = Instant::now();
        until_quiet(|| 1, most).await;
        assert!((5000..5200).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        let started = Instant::now();
        until_quiet(|| usize::from(started.elapsed() < Duration::from_secs(2)), most).await;
        assert!((3000..3300).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        let started = Instant::now();
        until_quiet(|| 1, Duration::ZERO).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_to_end_announces_it_as_well() {
        let life = Life::default();
        let other = life.clone();
        assert!(timeout(Duration::from_secs(1), life.near_end()).await.is_err());
        other.announce_end();
        life.near_end().await;
        assert!(timeout(Duration::from_secs(1), life.ordered()).await.is_err());
        other.end();
        life.ordered().await;
    }
}

//! How an engine behaves, and what time it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Tells the time: the system's, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// From a function.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names this engine in records: the pod's name, or one of the process.
    pub owner: String,
    /// Orders at one time.
    pub parallel_orders: usize,
    /// Longest time of one attempt; an order that takes longer is gone on with in the next one.
    pub attempt_timeout: Duration,
    /// How long a reservation of another engine must rest unchanged before this one takes the order over. The request
    /// that makes an order is given at most half of it.
    pub settle: Duration,
    /// Shortest and longest pause after a failure; it doubles in between.
    pub backoff: (Duration, Duration),
    /// The time.
    pub clock: Clock,
}

impl Settings {
    /// With defaults: 8 orders at one time, 5 minutes an attempt, pauses of a minute to a day.
    pub fn new(owner: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            parallel_orders: 8,
            attempt_timeout: Duration::from_secs(300),
            settle: Duration::from_secs(20),
            backoff: (Duration::from_secs(60), Duration::from_secs(24 * 3600)),
            clock: Clock::default(),
        }
    }
}

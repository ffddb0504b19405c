//! Pauses between two tries to reach the controller.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to the longest, which is 10 s unless something else is said. A random half of each pause is left out, so that the data planes of a controller that
/// has come back do not all come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    tries: u32,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// With this longest pause.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { tries: 0, longest }
    }

    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = SHORTEST.saturating_mul(1 << self.tries.min(16)).min(self.longest);
        self.tries += 1;
        // The keys of a hasher are random.
        let random = RandomState::new().hash_one(self.tries) % 1000;
        let share = u32::try_from(random).unwrap_or_default();
        whole / 2 + whole / 2 * share / 1000
    }

    /// The controller has answered.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_ten_and_start_again_after_an_answer() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses[0] >= Duration::from_millis(50) && pauses[0] <= Duration::from_millis(100));
        assert!(
            pauses[30..].iter().all(|it| *it >= Duration::from_secs(5) && *it <= Duration::from_secs(10))
        );
        assert!(pauses[30..].windows(2).any(|two| two[0] != two[1]));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}

//! How long to wait before asking again: doubling pauses with jitter, so that replicas that lost the same API server
//! do not return in step.

use std::time::Duration;

/// Pauses after failures that follow each other.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// The first pause is about `first`, none is longer than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// For requests to the API server: short enough that all is well again within two seconds of its return.
    pub fn of_api() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// The pause after one more failure. `random` is in 0..1; the pause is between half and the whole of its step.
    pub fn pause(&mut self, random: f64) -> Duration {
        let step = self.next;
        self.next = (self.next * 2).min(self.longest);
        step.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Waits for the next pause.
    pub async fn wait(&mut self) {
        let pause = self.pause(rand::random());
        tokio::time::sleep(pause).await;
    }

    /// Something went well: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(50), ms(150));
        let pauses: Vec<Duration> = (0..4).map(|_| backoff.pause(1.0)).collect();
        assert_eq!(pauses, [ms(50), ms(100), ms(150), ms(150)]);
        backoff.reset();
        assert_eq!(backoff.pause(0.0), ms(25));
    }
}

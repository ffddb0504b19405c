//! How a limit on concurrency follows the time that answers take. Pure: windows of answers in, a limit out.
//!
//! A backend that works on as many requests as it can do at one time answers in the time that one request needs; each
//! further request waits, and all answers become slower in proportion. So the limit is moved by the gradient: the time
//! without load (and what the policy grants on top of it), over the time of the last window. Below 1 it falls in this
//! proportion, else it grows as long as requests make use of it: by half its square root, and by a tenth more while
//! answers are as quick as without load.
//!
//! The time without load is the least that was seen. Since it may change for good, and since a backend that is always
//! under load never shows it, the limit is lowered now and then, so far that no request waits, until a few answers have
//! shown it: soon after the start, then at the policy's interval, and at once when a lower limit did not make answers
//! quicker.

use sluice_ir::AdaptiveConcurrency;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The least time of a window.
pub(super) const WINDOW: Duration = Duration::from_millis(100);
/// The least number of answers of a window.
const LEAST_ANSWERS: u32 = 10;
/// A window that has fewer waits so long for more, and is then judged by what it has.
const LONGEST_WINDOW: Duration = Duration::from_secs(1);
/// A limit that nobody has tried begins here, within its bounds.
const FIRST_LIMIT: u32 = 20;
/// The first measurement without load, and the next one after one that found another time.
const SOON: Duration = Duration::from_secs(1);
/// Measurements are at least so many times without load apart, so that they cost slow backends nothing either.
const REST: f64 = 100.0;
/// The same while each finds another time.
const SHORT_REST: f64 = 10.0;

/// What was seen since the last judgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) answers: u32,
    /// Microseconds of all answers together.
    pub(super) sum_us: u64,
    /// Most requests on their way at one time.
    pub(super) peak: u32,
}

/// What has been learned.
#[derive(Debug)]
pub(super) struct Law {
    least: f64,
    most: f64,
    /// 1.25: answers may be a quarter slower.
    tolerance: f64,
    probe_interval: Duration,
    limit: f64,
    /// Microseconds without load.
    base_us: Option<f64>,
    began: Instant,
    next_probe: Instant,
    probing: bool,
    /// Limit and time of the window in which answers began to be slow, while they are.
    slow_since: Option<(f64, f64)>,
}

impl Law {
    pub(super) fn new(settings: &AdaptiveConcurrency, now: Instant) -> Self {
        let (least, most) = (f64::from(settings.min_requests), f64::from(settings.max_requests));
        Self {
            least,
            most,
            tolerance: 1.0 + f64::from(settings.latency_increase_percent) / 100.0,
            probe_interval: settings.probe_interval,
            limit: f64::from(FIRST_LIMIT).max(least).min(most),
            base_us: None,
            began: now,
            next_probe: now + SOON.min(settings.probe_interval),
            probing: false,
            slow_since: None,
        }
    }

    /// The limit that holds now.
    pub(super) fn limit(&self) -> u32 {
        let limit = if self.probing { self.probe_limit() } else { self.limit };
        // At most 100,000, and at least 1.
        limit as u32
    }

    /// Under steady load the limit is about the tolerance times what the backend can do at one time, and a bit: so far
    /// below it that nobody waits.
    fn probe_limit(&self) -> f64 {
        (self.limit / (1.6 * self.tolerance)).max(self.least)
    }

    /// Looks at what was seen; `None`: it is too little. Else whether requests that are on their way may tell of the
    /// window that begins now.
    pub(super) fn judge(&mut self, window: Window, now: Instant) -> Option<bool> {
        let age = now.saturating_duration_since(self.began);
        if window.answers == 0 || (window.answers < LEAST_ANSWERS && age < LONGEST_WINDOW) {
            return None;
        }
        self.began = now;
        let took_us = (window.sum_us as f64 / f64::from(window.answers)).max(1.0);
        if self.probing {
            self.probed(took_us, now);
            return Some(false);
        }
        let base_us = match self.base_us {
            None => took_us,
            // A window of quick answers may be luck: it is believed by a quarter.
            Some(base) if took_us < base => base + (took_us - base) / 4.0,
            Some(base) => base,
        };
        self.base_us = Some(base_us);
        let before = self.limit;
        self.step(took_us / base_us, window.peak);
        if now >= self.next_probe || self.is_in_vain(took_us, base_us, before) {
            self.slow_since = None;
            self.probing = true;
            return Some(false);
        }
        Some(true)
    }

    /// Moves the limit; `slower`: how many times the time without load answers took.
    fn step(&mut self, slower: f64, peak: u32) {
        let gradient = (self.tolerance / slower).clamp(0.5, 1.0);
        let is_quick = slower < 1.0 + (self.tolerance - 1.0) / 4.0;
        let pace = if is_quick { 1.1 } else { 1.0 };
        let goal = self.limit * gradient * pace + self.limit.sqrt() / 2.0;
        if goal < self.limit {
            self.limit = (self.limit + goal) / 2.0;
        } else if f64::from(peak) * 2.0 > self.limit {
            self.limit = goal;
        }
        self.limit = self.limit.clamp(self.least, self.most);
    }

    /// Whether the limit has fallen by half, or as far as it may, and answers are as slow as before: then it is not load that
    /// makes them slow.
    fn is_in_vain(&mut self, took_us: f64, base_us: f64, before: f64) -> bool {
        if took_us <= self.tolerance * base_us {
            self.slow_since = None;
            return false;
        }
        let (limit, slow_us) = *self.slow_since.get_or_insert((before, took_us));
        let fell = self.limit <= limit / 2.0 || (self.limit <= self.least && limit > self.least * 1.2);
        fell && took_us > 0.8 * slow_us
    }

    fn probed(&mut self, took_us: f64, now: Instant) {
        let is_other = self.base_us.is_none_or(|base| took_us < 0.8 * base);
        self.probing = false;
        self.base_us = Some(took_us);
        let (usual, rest) = if is_other { (SOON, SHORT_REST) } else { (jittered(self.probe_interval), REST) };
        let rest = Duration::try_from_secs_f64(rest * took_us / 1e6).unwrap_or(Duration::from_secs(3600));
        self.next_probe = now + usual.max(rest);
    }
}

/// Up to a tenth earlier, so that data planes that began together do not measure together.
fn jittered(interval: Duration) -> Duration {
    let part = RandomState::new().hash_one(0_u8) % 100;
    interval.saturating_sub(interval.mul_f64(part as f64 / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_WINDOW, Law, WINDOW, Window};
    use sluice_ir::AdaptiveConcurrency;
    use std::time::{Duration, Instant};

    fn law(percent: u32) -> (Law, Instant) {
        let now = Instant::now();
        let settings = AdaptiveConcurrency {
            min_requests: 1,
            max_requests: 10_000,
            latency_increase_percent: percent,
            probe_interval: Duration::from_secs(30),
        };
        (Law::new(&settings, now), now)
    }

    /// A backend that does `slots` requests at a time, each in `need`, under more load than it can bear.
    struct Overloaded {
        slots: f64,
        need: Duration,
    }

    impl Overloaded {
        /// As many requests as the law allows, for so many windows.
        fn run(&self, law: &mut Law, now: &mut Instant, windows: u32) {
            for _ in 0..windows {
                *now += WINDOW;
                let limit = law.limit();
                let slower = (f64::from(limit) / self.slots).max(1.0);
                let took = self.need.mul_f64(slower);
                let answers = (f64::from(limit) * WINDOW.as_secs_f64() / took.as_secs_f64()).max(10.0) as u32;
                let sum_us = u64::from(answers) * took.as_micros() as u64;
                law.judge(Window { answers, sum_us, peak: limit }, *now);
            }
        }
    }

    #[test]
    fn under_load_the_limit_is_a_little_above_what_the_backend_can_do() {
        for slots in [4.0, 16.0, 100.0, 1_000.0] {
            let (mut law, mut now) = law(25);
            let backend = Overloaded { slots, need: Duration::from_millis(20) };
            // Begins where the backend is not loaded, so that the time without load is seen.
            law.limit = 2.0_f64;
            backend.run(&mut law, &mut now, 299);
            let ratio = law.limit / slots;
            assert!((1.0..2.0).contains(&ratio), "{} for {slots}", law.limit);
        }
    }

    #[test]
    fn a_start_under_full_load_is_found_out_by_the_next_probe() {
        let (mut law, mut now) = law(25);
        // The first limit is five times too much: the first window shows five times the true time.
        let backend = Overloaded { slots: 4.0, need: Duration::from_millis(20) };
        backend.run(&mut law, &mut now, 290);
        backend.run(&mut law, &mut now, 1_200);
        assert!((4.0..9.0).contains(&law.limit), "{law:?}");
        let base = law.base_us.unwrap_or_default();
        assert!((20_000.0..26_000.0).contains(&base), "{law:?}");
    }

    #[test]
    fn a_backend_that_is_slower_for_good_gets_its_load_back() {
        let (mut law, mut now) = law(25);
        Overloaded { slots: 16.0, need: Duration::from_millis(10) }.run(&mut law, &mut now, 400);
        let backend = Overloaded { slots: 16.0, need: Duration::from_millis(80) };
        backend.run(&mut law, &mut now, 600);
        assert!((16.0..32.0).contains(&law.limit), "{law:?}");
    }

    #[test]
    fn without_need_the_limit_does_not_grow() {
        let (mut law, mut now) = law(25);
        let begin = law.limit();
        for _ in 0..200 {
            now += WINDOW;
            law.judge(Window { answers: 20, sum_us: 20 * 1_000, peak: 2 }, now);
        }
        assert_eq!(law.limit(), begin);
    }

    #[test]
    fn few_answers_are_waited_for() {
        let (mut law, now) = law(25);
        let few = Window { answers: 3, sum_us: 3_000, peak: 1 };
        assert_eq!(law.judge(few, now + WINDOW), None);
        assert_eq!(law.judge(few, now + LONGEST_WINDOW), Some(false), "the first measurement begins");
        assert_eq!(law.judge(Window { answers: 0, sum_us: 0, peak: 0 }, now + Duration::from_secs(9)), None);
    }
}

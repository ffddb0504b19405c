//! Times in records: the calendar is computed once a second, not once a record.

use super::escape::thousandths;
use std::time::{Duration, SystemTime};

/// Remembers the text of the last second it wrote.
#[derive(Default)]
pub(super) struct Clock {
    second: Option<u64>,
    text: Vec<u8>,
}

impl Clock {
    /// Writes `2026-11-23T01:35:15.123Z`. Times before 1970 or after 9999 are written as 1970 began.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if self.second != Some(since_1970.as_secs()) {
            self.second = Some(since_1970.as_secs());
            self.text = calendar(since_1970.as_secs()).into_bytes();
        }
        out.extend_from_slice(&self.text);
        let [a, b, c] = thousandths(u64::from(since_1970.subsec_millis()));
        out.extend_from_slice(&[b'.', a, b, c, b'Z']);
    }
}

/// `2026-11-23T01:35:15`.
fn calendar(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or(0);
    let mut text = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    text.truncate("2026-11-23T01:35:15".len());
    text
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use std::time::{Duration, SystemTime};

    fn written(clock: &mut Clock, ms: u64) -> String {
        let mut out = Vec::new();
        clock.push(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn the_remembered_second_is_replaced() {
        let clock = &mut Clock::default();
        assert_eq!(written(clock, 1_795_397_715_007), "2026-11-23T01:35:15.007Z");
        assert_eq!(written(clock, 1_795_397_715_999), "2026-11-23T01:35:15.999Z");
        assert_eq!(written(clock, 1_795_397_716_000), "2026-11-23T01:35:16.000Z");
        assert_eq!(written(clock, 951_782_400_000), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn times_out_of_range_are_written_as_1970() {
        let clock = &mut Clock::default();
        assert_eq!(written(clock, 400_000_000_000_000), "1970-01-01T00:00:00.000Z");
        let mut out = Vec::new();
        clock.push(&mut out, SystemTime::UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }
}

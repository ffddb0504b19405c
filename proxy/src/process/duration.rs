//! Durations as people type them: `200ms`, `2s`, `1m30s`, `1h` (the same form as GEP-2257 in manifests).

use std::time::Duration;

/// Reads one or more numbers, each with its unit `h`, `m`, `s` or `ms`. Anything else is an error that shows the form.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write numbers with units, like 200ms, 30s or 1m30s");
    if text.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest.get(..digits).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
        rest = rest.get(digits..).unwrap_or_default();
        let (unit_ms, unit_len) = unit(rest).ok_or_else(wrong)?;
        let part = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        rest = rest.get(unit_len..).unwrap_or_default();
    }
    Ok(total)
}

/// Milliseconds of the unit that `text` starts with, and the unit's length in bytes.
fn unit(text: &str) -> Option<(u64, usize)> {
    [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(name, _)| text.starts_with(name))
        .map(|(name, ms)| (ms, name.len()))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn parts_add_up_and_a_number_without_unit_is_refused() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for wrong in
            ["", "5", "ms", "5 s", "1.5s", "-1s", "5d", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

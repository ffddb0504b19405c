//! Single values of a DestinationRule, and the list of what is wrong with them.

use super::model::Fault;
use crate::problem::Severity;
use crate::syntax;
use sluice_ir::SubjectName;
use std::time::Duration;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.0.push(Fault {
            field: field.into(),
            message: message.into(),
            next_step: next_step.into(),
            severity,
        });
    }

    /// A field that is done, but probably not as it was meant.
    pub(super) fn warn(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.add(Severity::Warning, field, message, next_step);
    }

    /// A field that is not done.
    pub(super) fn refuse(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        next_step: impl Into<String>,
    ) {
        self.add(Severity::Error, field, message, next_step);
    }
}

/// A number of 32 bits.
pub(super) fn count(value: Option<i64>, field: &str, faults: &mut Faults) -> Option<u32> {
    let value = value?;
    let read = u32::try_from(value).ok();
    if read.is_none() {
        faults.refuse(field, format!("{value} is out of range"), "use 0 to 4294967295");
    }
    read
}

/// 0 to 100.
pub(super) fn percent(value: Option<i64>, field: &str, faults: &mut Faults) -> Option<u8> {
    let value = value?;
    let read = u8::try_from(value).ok().filter(|it| *it <= 100);
    if read.is_none() {
        faults.refuse(field, format!("{value} is no percentage"), "use 0 to 100");
    }
    read
}

/// A time as Istio writes it.
pub(super) fn duration(text: Option<&String>, field: &str, faults: &mut Faults) -> Option<Duration> {
    let text = text?;
    let read = parse_duration(text);
    if read.is_none() {
        faults.refuse(field, format!("{text:?} is no duration"), "write it as 10s, 1.5s, 1m30s or 100ms");
    }
    read
}

/// Numbers with the units h, m, s and ms, the greatest first; each may have a fraction. Whole milliseconds count.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let units = [("h", 3_600_000.0), ("m", 60_000.0), ("s", 1_000.0), ("ms", 1.0)];
    let (mut rest, mut place, mut total_ms) = (text, 0, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|it: char| !it.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let at = units.iter().position(|it| it.0 == unit).filter(|at| *at >= place)?;
        total_ms += number.parse::<f64>().ok()? * units.get(at)?.1;
        (rest, place) = (after, at + 1);
    }
    // A century is long enough for everybody, and fits.
    (!text.is_empty() && total_ms <= 3.2e12).then(|| Duration::from_millis(total_ms.round() as u64))
}

/// A subject alternative name: a URI where there is a scheme, else a DNS name.
pub(crate) fn subject_name(text: &str) -> Result<SubjectName, String> {
    if text.contains("://") {
        syntax::absolute_uri(text)?;
        return Ok(SubjectName::Uri(text.to_owned()));
    }
    let name = text.to_ascii_lowercase();
    syntax::hostname(&name, true)?;
    Ok(SubjectName::Dns(name))
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_those_of_protobuf_and_of_go() {
        let read = |text| parse_duration(text).map(|it| it.as_millis());
        for (text, ms) in [
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("0s", 0),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(read(text), Some(ms), "{text}");
        }
        for text in ["", "10", "s", "1s1m", "1s1s", "-1s", "1d", "1 s", "1.2.3s", "99999999h"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

//! Faults on purpose: which requests are kept waiting, and which are answered with an error. Shares are exact, not a
//! matter of chance: of so many requests in a row so many are meant.

use crate::upstream::Sampler;
use http::HeaderMap;
use sluice_ir as ir;
use sluice_route::CompiledMatch;
use std::time::Duration;

/// Compiled [`ir::Faults`].
pub(crate) struct Faults {
    delay: Option<(Duration, Selector)>,
    abort: Option<(Abort, Selector)>,
}

/// The answer of a request that is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abort {
    pub(crate) status: u16,
    pub(crate) grpc_status: u8,
}

impl Faults {
    pub(crate) fn compile(faults: &ir::Faults) -> Self {
        let abort = |it: &ir::FaultAbort| {
            (Abort { status: it.status, grpc_status: it.grpc_status }, Selector::compile(&it.of))
        };
        Self {
            delay: faults.delay.as_ref().map(|it| (it.duration, Selector::compile(&it.of))),
            abort: faults.abort.as_ref().map(abort),
        }
    }

    /// How long this request waits.
    pub(crate) fn delay(&self, headers: &HeaderMap) -> Option<Duration> {
        self.delay.as_ref().filter(|(_, of)| of.takes(headers)).map(|(duration, _)| *duration)
    }

    /// What this request is answered with.
    pub(crate) fn abort(&self, headers: &HeaderMap) -> Option<Abort> {
        self.abort.as_ref().filter(|(_, of)| of.takes(headers)).map(|(abort, _)| *abort)
    }
}

struct Selector {
    /// `None`: every request.
    headers: Option<CompiledMatch>,
    sampler: Sampler,
}

impl Selector {
    /// Conditions that do not compile, which the translation refuses, mean no request.
    fn compile(of: &ir::FaultSelector) -> Self {
        let none = ir::Ratio { numerator: 0, denominator: 1 };
        if of.headers.is_empty() {
            return Self { headers: None, sampler: Sampler::new(of.fraction) };
        }
        let asked = ir::Match { headers: of.headers.clone(), ..ir::Match::default() };
        match CompiledMatch::compile(&asked) {
            Ok(compiled) => Self { headers: Some(compiled), sampler: Sampler::new(of.fraction) },
            Err(_) => Self { headers: None, sampler: Sampler::new(none) },
        }
    }

    fn takes(&self, headers: &HeaderMap) -> bool {
        self.headers.as_ref().is_none_or(|it| it.headers_met(headers)) && self.sampler.take()
    }
}

#[cfg(test)]
mod tests {
    use super::{Abort, Faults};
    use http::{HeaderMap, HeaderValue};
    use sluice_ir as ir;
    use std::time::Duration;

    fn of(numerator: u32, headers: &[(&str, ir::StringMatch)]) -> ir::FaultSelector {
        let header = |(name, value): &(&str, ir::StringMatch)| ir::HeaderMatch {
            name: (*name).to_owned(),
            value: value.clone(),
        };
        ir::FaultSelector {
            fraction: ir::Ratio { numerator, denominator: 10 },
            headers: headers.iter().map(header).collect(),
        }
    }

    #[test]
    fn an_exact_share_of_those_whose_header_fits_is_meant() {
        let abort = ir::FaultAbort {
            status: 503,
            grpc_status: 14,
            of: of(3, &[("x", ir::StringMatch::Regex("a+".to_owned()))]),
        };
        let faults = Faults::compile(&ir::Faults { delay: None, abort: Some(abort) });
        let mut fits = HeaderMap::new();
        fits.insert("x", HeaderValue::from_static("aa"));
        let mut other = HeaderMap::new();
        other.insert("x", HeaderValue::from_static("ab"));
        let meant = (0..20).filter(|_| {
            assert_eq!(faults.abort(&other), None);
            faults.abort(&fits) == Some(Abort { status: 503, grpc_status: 14 })
        });
        assert_eq!(meant.count(), 6);
        assert_eq!(faults.delay(&fits), None);
    }

    #[test]
    fn without_conditions_every_request_may_be_meant() {
        let delay = ir::FaultDelay { duration: Duration::from_millis(5), of: of(10, &[]) };
        let faults = Faults::compile(&ir::Faults { delay: Some(delay), abort: None });
        assert_eq!(faults.delay(&HeaderMap::new()), Some(Duration::from_millis(5)));
        assert_eq!(faults.abort(&HeaderMap::new()), None);
    }
}

//! `buffer`, `concurrency` and `hedging`.

use crate::values::Values;
use sluice_crds::{BufferSpec, ConcurrencySpec, HedgingSpec};
use sluice_ir::{AdaptiveConcurrency, Hedging, RequestBuffer};
use std::time::Duration;

/// Bytes of a buffered body when the policy names none.
const DEFAULT_BUFFER_BYTES: u64 = 1 << 20;
/// Most bytes of a buffered body.
const MOST_BUFFER_BYTES: i64 = 64 << 20;
/// Bounds of a limit on concurrency.
const LIMITS: (i64, i64) = (1, 100_000);
/// The least limit when the policy names none.
const DEFAULT_LEAST: u32 = 4;
/// The largest limit when the policy names none.
const DEFAULT_MOST: u32 = 1_000;
/// By how many percent answers may become slower when the policy does not say.
const DEFAULT_INCREASE_PERCENT: u32 = 25;
/// Shortest, usual and longest time between two measurements without load.
const PROBES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(3600)];

/// Longest delay before a further try.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Further tries of a request when the policy does not say.
const DEFAULT_EXTRA_TRIES: u32 = 1;
/// Further tries in percent of the requests when the policy does not say.
const DEFAULT_HEDGING_PERCENT: u32 = 10;

/// Reads `buffer`.
pub(super) fn buffer(spec: &BufferSpec, values: &mut Values) -> RequestBuffer {
    let max_bytes = values.number("buffer.maxBytes", spec.max_bytes, (0, MOST_BUFFER_BYTES));
    RequestBuffer { max_bytes: max_bytes.unwrap_or(DEFAULT_BUFFER_BYTES) }
}

/// Reads `concurrency`.
pub(super) fn concurrency(spec: &ConcurrencySpec, values: &mut Values) -> AdaptiveConcurrency {
    if spec.disabled == Some(true) {
        let alone = ConcurrencySpec { disabled: spec.disabled, ..ConcurrencySpec::default() };
        values.alone("concurrency.disabled", *spec == alone);
        return AdaptiveConcurrency {
            min_requests: 0,
            max_requests: 0,
            latency_increase_percent: DEFAULT_INCREASE_PERCENT,
            probe_interval: PROBES[1],
        };
    }
    let min_requests =
        values.number("concurrency.minRequests", spec.min_requests, LIMITS).unwrap_or(DEFAULT_LEAST);
    let max_requests = values.number("concurrency.maxRequests", spec.max_requests, LIMITS);
    if max_requests.is_some_and(|most| most < min_requests) {
        let next_step = format!("use {min_requests} or more");
        values.fault("concurrency.maxRequests", "is less than minRequests", next_step);
    }
    let percent =
        values.number("concurrency.latencyIncreasePercent", spec.latency_increase_percent, (5, 400));
    let [shortest, usual, longest] = PROBES;
    let probe_interval =
        values.duration("concurrency.probeInterval", spec.probe_interval.as_ref()).unwrap_or(usual);
    if !(shortest..=longest).contains(&probe_interval) {
        values.fault("concurrency.probeInterval", "is out of range", "use 1s to 1h");
    }
    AdaptiveConcurrency {
        min_requests,
        max_requests: max_requests.unwrap_or(DEFAULT_MOST.max(min_requests)),
        latency_increase_percent: percent.unwrap_or(DEFAULT_INCREASE_PERCENT),
        probe_interval,
    }
}

/// Reads `hedging`.
pub(super) fn hedging(spec: &HedgingSpec, values: &mut Values) -> Hedging {
    if spec.disabled == Some(true) {
        let alone = HedgingSpec { disabled: spec.disabled, ..HedgingSpec::default() };
        values.alone("hedging.disabled", *spec == alone);
        let delay = LONGEST_DELAY;
        return Hedging { delay, extra_tries: 0, percent: 0, methods: Vec::new() };
    }
    if spec.delay.is_none() {
        values.fault("hedging.delay", "is missing", "say how long an answer is waited for, as in 50ms");
    }
    let delay = values.duration("hedging.delay", spec.delay.as_ref()).unwrap_or(LONGEST_DELAY);
    if delay.is_zero() || delay > LONGEST_DELAY {
        values.fault("hedging.delay", "is out of range", "use 1ms to 60s");
    }
    let extra_tries = values.number("hedging.extraTries", spec.extra_tries, (1, 3));
    let percent = values.number("hedging.maxPercent", spec.max_percent, (1, 100));
    let mut methods: Vec<_> = spec.methods.iter().map(|it| it.name().to_owned()).collect();
    methods.sort();
    methods.dedup();
    Hedging {
        delay,
        extra_tries: extra_tries.unwrap_or(DEFAULT_EXTRA_TRIES),
        percent: percent.unwrap_or(DEFAULT_HEDGING_PERCENT),
        methods,
    }
}

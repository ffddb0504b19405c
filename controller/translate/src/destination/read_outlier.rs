//! `outlierDetection` of a DestinationRule.

use super::values::{Faults, count, duration, percent};
use sluice_crds::OutlierDetectionSpec;
use sluice_ir::Ejection;
use std::time::Duration;

/// What counts when the rule does not say (Istio and Envoy).
const SERVER_ERRORS: u32 = 5;
const FAILURES: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(10);
const BASE: Duration = Duration::from_secs(30);
const MOST_PERCENT: u8 = 10;

pub(super) fn ejection(it: &OutlierDetectionSpec, field: &str, faults: &mut Faults) -> Ejection {
    if it.consecutive_errors.is_some() {
        let message = "is no more; it has no effect";
        faults.refuse(format!("{field}.consecutiveErrors"), message, "use consecutive5xxErrors");
    }
    let split = it.split_external_local_origin_errors == Some(true);
    let mut read = |name: &str, value: Option<i64>, default: u32| {
        count(value, &format!("{field}.{name}"), faults).unwrap_or(default)
    };
    let failures = read("consecutiveLocalOriginFailures", it.consecutive_local_origin_failures, FAILURES);
    let server_errors = read("consecutive5xxErrors", it.consecutive_5xx_errors, SERVER_ERRORS);
    let gateway_errors = read("consecutiveGatewayErrors", it.consecutive_gateway_errors, 0);
    if !split && it.consecutive_local_origin_failures.is_some() {
        faults.warn(
            format!("{field}.consecutiveLocalOriginFailures"),
            "has no effect: failures count as 5xx",
            "set splitExternalLocalOriginErrors: true",
        );
    }
    let mut time = |name: &str, text: Option<&String>, default: Duration| {
        let field = format!("{field}.{name}");
        match duration(text, &field, faults) {
            Some(zero) if zero.is_zero() => {
                faults.refuse(field, format!("0 makes no sense; {} s counts", default.as_secs()), "");
                default
            }
            given => given.unwrap_or(default),
        }
    };
    Ejection {
        server_errors,
        gateway_errors,
        failures: split.then_some(failures),
        interval: time("interval", it.interval.as_ref(), INTERVAL),
        base: time("baseEjectionTime", it.base_ejection_time.as_ref(), BASE),
        most_percent: percent(it.max_ejection_percent, &format!("{field}.maxEjectionPercent"), faults)
            .unwrap_or(MOST_PERCENT),
        health_percent: percent(it.min_health_percent, &format!("{field}.minHealthPercent"), faults)
            .unwrap_or(0),
    }
}

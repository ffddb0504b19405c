//! `faults`.

use crate::syntax;
use crate::values::Values;
use sluice_crds::{FaultsSpec, FractionSpec, HeaderMatchKind, HeaderMatchSpec};
use sluice_ir::{FaultAbort, FaultDelay, FaultSelector, Faults, HeaderMatch, Ratio, StringMatch};
use std::time::Duration;

/// Longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// Status of an abort that names none.
const DEFAULT_STATUS: u16 = 503;
/// The same for gRPC: UNAVAILABLE.
const DEFAULT_GRPC_STATUS: u8 = 14;

/// Reads `faults`.
pub(super) fn read(spec: &FaultsSpec, values: &mut Values) -> Faults {
    let is_off = spec.disabled == Some(true);
    let is_empty = spec.delay.is_none() && spec.abort.is_none();
    if is_off && !is_empty {
        let next_step = "remove disabled, or remove delay and abort";
        values.fault("faults.disabled", "faults are set and switched off at the same time", next_step);
    }
    if !is_off && is_empty {
        let next_step = "add one of them; disabled: true switches off the faults of less specific policies";
        values.fault("faults", "says neither delay nor abort", next_step);
    }
    let delay = spec.delay.as_ref().map(|it| {
        let duration = values.duration("faults.delay.duration", Some(&it.duration)).unwrap_or(LONGEST);
        if duration.is_zero() || duration > LONGEST {
            values.fault("faults.delay.duration", "is out of range", "use 1ms to 60s");
        }
        let of = selector("faults.delay", (it.percent, it.fraction.as_ref()), &it.headers, values);
        FaultDelay { duration, of }
    });
    let abort = spec.abort.as_ref().map(|it| FaultAbort {
        status: values.number("faults.abort.status", it.status, (400, 599)).unwrap_or(DEFAULT_STATUS),
        grpc_status: values
            .number("faults.abort.grpcStatus", it.grpc_status, (1, 16))
            .unwrap_or(DEFAULT_GRPC_STATUS),
        of: selector("faults.abort", (it.percent, it.fraction.as_ref()), &it.headers, values),
    });
    Faults { delay, abort }
}

fn selector(
    field: &str,
    (percent, fraction): (Option<i64>, Option<&FractionSpec>),
    headers: &[HeaderMatchSpec],
    values: &mut Values,
) -> FaultSelector {
    let fraction = match (percent, fraction) {
        (Some(_), Some(_)) => {
            values.fault(format!("{field}.percent"), "percent and fraction can't both be set", "remove one");
            None
        }
        (None, None) => Some(Ratio::ALL),
        (Some(percent), None) => {
            let numerator = values.number(&format!("{field}.percent"), Some(percent), (0, 100));
            numerator.map(|numerator| Ratio { numerator, denominator: 100 })
        }
        (None, Some(it)) => {
            let denominator = Some(it.denominator.unwrap_or(100));
            let place = format!("{field}.fraction.denominator");
            let denominator: u32 = values.number(&place, denominator, (1, 1_000_000_000)).unwrap_or(1);
            let range = (0, i64::from(denominator));
            let numerator = values.number(&format!("{field}.fraction.numerator"), Some(it.numerator), range);
            numerator.map(|numerator| Ratio { numerator, denominator })
        }
    };
    let headers = headers.iter().enumerate().map(|(index, it)| {
        let field = format!("{field}.headers[{index}]");
        if let Err(message) = syntax::header_name(&it.name) {
            values.fault(format!("{field}.name"), message, "");
        }
        let value = match it.r#type {
            Some(HeaderMatchKind::RegularExpression) => {
                if let Err(message) = syntax::regex(&it.value) {
                    values.fault(format!("{field}.value"), message, "");
                }
                StringMatch::Regex(it.value.clone())
            }
            Some(HeaderMatchKind::Exact) | None => StringMatch::Exact(it.value.clone()),
        };
        HeaderMatch { name: it.name.to_ascii_lowercase(), value }
    });
    let headers = headers.collect();
    FaultSelector { fraction: fraction.unwrap_or(Ratio::ALL), headers }
}

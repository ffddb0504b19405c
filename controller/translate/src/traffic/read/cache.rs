//! `cache`.

use crate::values::Values;
use sluice_crds::{CacheHeaders, CacheSpec};
use sluice_ir::Cache;
use std::time::Duration;

const DEFAULT_BYTES: u64 = 64 * 1_024 * 1_024;
const DEFAULT_OBJECT_BYTES: u64 = 1_024 * 1_024;
/// Shortest and longest time that an answer is fresh by default.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Reads `cache`.
pub(super) fn read(spec: &CacheSpec, values: &mut Values) -> Cache {
    if spec.disabled == Some(true) {
        let alone = *spec == CacheSpec { disabled: Some(true), ..CacheSpec::default() };
        values.alone("cache.disabled", alone);
        return Cache { most_bytes: 0, most_object_bytes: 0, default_ttl: None, tells: false };
    }
    let most_bytes =
        values.number("cache.maxBytes", spec.max_bytes, (65_536, 1_099_511_627_776)).unwrap_or(DEFAULT_BYTES);
    let most_object_bytes = values.number("cache.maxObjectBytes", spec.max_object_bytes, (1, 1_073_741_824));
    // One answer must not push out all the others.
    let half = most_bytes / 2;
    if most_object_bytes.is_some_and(|bytes| bytes > half) {
        values.fault(
            "cache.maxObjectBytes",
            format!("is more than a half of the {most_bytes} bytes that are kept"),
            format!("use {half} or less, or raise maxBytes"),
        );
    }
    let default_ttl = values.duration("cache.defaultTtl", spec.default_ttl.as_ref());
    if default_ttl.is_some_and(|ttl| !(SHORTEST..=LONGEST).contains(&ttl)) {
        values.fault("cache.defaultTtl", "is out of range", "use 1s to 24h");
    }
    Cache {
        most_bytes,
        most_object_bytes: most_object_bytes.unwrap_or(DEFAULT_OBJECT_BYTES).min(half),
        default_ttl,
        tells: spec.response_headers != Some(CacheHeaders::Disabled),
    }
}

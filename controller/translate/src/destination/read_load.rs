//! `loadBalancer` of a DestinationRule.

use super::model::Load;
use super::read_locality::locality;
use super::values::{Faults, count, duration};
use crate::syntax;
use sluice_crds::{ConsistentHashSpec, HashCookieSpec, LoadBalancerSpec, WarmupSpec};
use sluice_ir::{Balancing, HashCookie, HashKey, HashPolicy, HashTable, Warmup};
use std::time::Duration;

/// Points of a ring where the rule does not say, and the most that it may ask for.
const RING: u32 = 1_024;
const LONGEST_RING: u32 = 1 << 20;
/// Slots of a table where the rule does not say, and the most that it may ask for.
const SLOTS: u32 = 65_537;
const MOST_SLOTS: u32 = 5_000_011;
/// Share of a new endpoint where the rule does not say.
const LEAST_PERCENT: f64 = 10.0;

/// `is_service`: whether the rule is for a Service.
pub(super) fn load(it: &LoadBalancerSpec, is_service: bool, field: &str, faults: &mut Faults) -> Load {
    if it.zone_aware_lb_setting.is_some() {
        faults.refuse(
            format!("{field}.zoneAwareLbSetting"),
            "has no effect: requests are not balanced between zones by their load",
            "use localityLbSetting",
        );
    }
    let near = it.locality_lb_setting.as_ref();
    let near = near.map(|it| locality(it, is_service, &format!("{field}.localityLbSetting"), faults));
    let affinity = it.consistent_hash.as_ref().and_then(|it| {
        let field = format!("{field}.consistentHash");
        Some(HashPolicy { key: hash_key(it, &field, faults)?, table: hash_table(it, &field, faults) })
    });
    let warmup = match (&it.warmup, &it.warmup_duration_secs) {
        (Some(warmup), _) => read_warmup(warmup, &format!("{field}.warmup"), faults),
        (None, Some(time)) => {
            let spec = WarmupSpec { duration: time.clone(), ..WarmupSpec::default() };
            read_warmup(&spec, &format!("{field}.warmupDurationSecs"), faults)
        }
        (None, None) => None,
    };
    let how = simple(it.simple.as_deref(), field, faults);
    if warmup.is_some() && (affinity.is_some() || how == Balancing::Random) {
        faults.refuse(
            format!("{field}.warmup"),
            "warms up only with ROUND_ROBIN and LEAST_REQUEST",
            "use one of them, or remove warmup",
        );
    }
    let warmup = warmup.filter(|_| affinity.is_none() && how != Balancing::Random);
    Load { how, affinity, warmup, near }
}

fn simple(text: Option<&str>, field: &str, faults: &mut Faults) -> Balancing {
    let next_step = "use LEAST_REQUEST, ROUND_ROBIN or RANDOM";
    match text.unwrap_or("UNSPECIFIED") {
        "UNSPECIFIED" | "LEAST_REQUEST" | "LEAST_CONN" => Balancing::LeastRequest,
        "ROUND_ROBIN" => Balancing::RoundRobin,
        "RANDOM" => Balancing::Random,
        "PASSTHROUGH" => {
            let message = "clients connect to the gateway: there is no address to pass on to";
            faults.refuse(format!("{field}.simple"), message, next_step);
            Balancing::LeastRequest
        }
        other => {
            faults.refuse(format!("{field}.simple"), format!("{other:?} is not known"), next_step);
            Balancing::LeastRequest
        }
    }
}

/// The one key that the rule names.
fn hash_key(it: &ConsistentHashSpec, field: &str, faults: &mut Faults) -> Option<HashKey> {
    let named = [
        it.http_header_name.is_some(),
        it.http_cookie.is_some(),
        it.use_source_ip == Some(true),
        it.http_query_parameter_name.is_some(),
    ];
    if named.iter().filter(|it| **it).count() != 1 {
        faults.refuse(
            field,
            "needs one key, no more and no less",
            "use one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName",
        );
        return None;
    }
    let mut is_token = |name: &str, place: &str| {
        let checked = syntax::header_name(name);
        if let Err(message) = &checked {
            faults.refuse(format!("{field}.{place}"), message, "");
        }
        checked.is_ok()
    };
    if let Some(name) = &it.http_header_name {
        return is_token(name, "httpHeaderName").then(|| HashKey::Header(name.clone()));
    }
    if let Some(name) = &it.http_query_parameter_name {
        return Some(HashKey::Query(name.clone()));
    }
    if let Some(cookie) = &it.http_cookie {
        return if is_token(&cookie.name, "httpCookie.name") {
            Some(HashKey::Cookie(hash_cookie(cookie, &format!("{field}.httpCookie"), faults)))
        } else {
            None
        };
    }
    Some(HashKey::SourceIp)
}

fn hash_cookie(it: &HashCookieSpec, field: &str, faults: &mut Faults) -> HashCookie {
    let is_text =
        |text: &str| !text.bytes().any(|it| it == b';' || it == b',' || !(0x20..0x7f).contains(&it));
    let path = it.path.clone().filter(|it| !it.is_empty());
    let path = path.filter(|path| {
        let is_path = path.starts_with('/') && is_text(path);
        if !is_path {
            faults.refuse(
                format!("{field}.path"),
                format!("{path:?} is no path of a cookie"),
                "begin it with '/'",
            );
        }
        is_path
    });
    let ttl = duration(it.ttl.as_ref(), &format!("{field}.ttl"), faults);
    let mut attributes = Vec::new();
    for (index, attribute) in it.attributes.iter().enumerate() {
        let value = attribute.value.clone().unwrap_or_default();
        if syntax::header_name(&attribute.name).is_ok() && is_text(&value) {
            attributes.push((attribute.name.clone(), value));
        } else {
            let message = format!("{:?} is no attribute of a cookie", attribute.name);
            faults.refuse(format!("{field}.attributes[{index}]"), message, "use letters, digits and '-'");
        }
    }
    HashCookie { name: it.name.clone(), path, ttl, attributes }
}

fn hash_table(it: &ConsistentHashSpec, field: &str, faults: &mut Faults) -> HashTable {
    if let Some(maglev) = &it.maglev {
        let field = format!("{field}.maglev.tableSize");
        let size = count(maglev.table_size, &field, faults).filter(|it| *it != 0).unwrap_or(SLOTS);
        if size > MOST_SLOTS || !is_prime(size) {
            let message = format!("{size} is no prime up to {MOST_SLOTS}; {SLOTS} counts");
            faults.refuse(field, message, "use 251, 1021, 16381 or 65537");
            return HashTable::Maglev { size: SLOTS };
        }
        return HashTable::Maglev { size };
    }
    let (field, given) = match (&it.ring_hash, it.minimum_ring_size) {
        (Some(ring), _) => (format!("{field}.ringHash.minimumRingSize"), ring.minimum_ring_size),
        (None, older) => (format!("{field}.minimumRingSize"), older),
    };
    let least = count(given, &field, faults).filter(|it| *it != 0).unwrap_or(RING);
    if least > LONGEST_RING {
        faults.refuse(field, format!("{least} is too much; {LONGEST_RING} counts"), "use 1 to 1048576");
    }
    HashTable::Ring { least: least.min(LONGEST_RING) }
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..).take_while(|it| it * it <= number).all(|it| !number.is_multiple_of(it))
}

fn read_warmup(it: &WarmupSpec, field: &str, faults: &mut Faults) -> Option<Warmup> {
    let time = duration(Some(&it.duration), field, faults).filter(|it| !it.is_zero())?;
    let percent = it.minimum_percent.unwrap_or(LEAST_PERCENT);
    let aggression = it.aggression.unwrap_or(1.0);
    let is_share = (0.0..=100.0).contains(&percent);
    if !is_share {
        faults.refuse(
            format!("{field}.minimumPercent"),
            format!("{percent} is no percentage"),
            "use 0 to 100",
        );
    }
    // Istio: at least 1.0.
    let is_aggression = (1.0..=1_000.0).contains(&aggression);
    if !is_aggression {
        faults.refuse(
            format!("{field}.aggression"),
            format!("{aggression} is out of range"),
            "use 1 to 1000",
        );
    }
    let percent = if is_share { percent } else { LEAST_PERCENT };
    let aggression = if is_aggression { aggression } else { 1.0 };
    Some(Warmup {
        time: time.min(Duration::from_secs(86_400)),
        least_percent: (percent.round() as u8).max(1),
        aggression: (aggression * 100.0).round() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn sizes_of_tables_are_primes() {
        assert!([2, 3, 251, 1_021, 65_537, 5_000_011].into_iter().all(is_prime));
        assert!(![0, 1, 4, 65_536, 5_000_010].into_iter().any(is_prime));
    }
}

//! `rateLimit`.

use super::values::Values;
use crate::syntax;
use sluice_crds::{RateKeySpec, RateKeyType, RateLimitHeaders, RateLimitSpec, RateRuleSpec};
use sluice_ir::{RateKey, RateLimits, RateRule};
use std::time::Duration;

/// Most rules of a policy.
const MOST_RULES: usize = 16;
/// Most parts of a key.
const MOST_PARTS: usize = 4;
/// Keys of a rule that says nothing.
const DEFAULT_KEYS: u32 = 65_536;
/// Shortest and longest time of a rule.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Reads `rateLimit`.
pub(super) fn limits(spec: &RateLimitSpec, values: &mut Values) -> RateLimits {
    let rules = spec.local.as_ref().map(|it| it.rules.as_slice());
    match rules.map(<[_]>::len) {
        None => values.fault("rateLimit", "has no limit", "add local, or remove rateLimit"),
        Some(0) => values.fault("rateLimit.local.rules", "is empty", "add a rule"),
        Some(1..=MOST_RULES) => {}
        Some(more) => values.fault("rateLimit.local.rules", format!("has {more} rules"), "use at most 16"),
    }
    let mut local: Vec<RateRule> = Vec::new();
    for (index, rule) in rules.unwrap_or_default().iter().enumerate() {
        let field = format!("rateLimit.local.rules[{index}]");
        let rule = one(rule, index, &field, values);
        if local.iter().any(|it| it.name == rule.name) {
            let message = format!("{:?} names an earlier rule too", rule.name);
            values.fault(format!("{field}.name"), message, "give each rule its own name");
        }
        local.push(rule);
    }
    RateLimits { local, tells: spec.response_headers != Some(RateLimitHeaders::Disabled) }
}

fn one(spec: &RateRuleSpec, index: usize, field: &str, values: &mut Values) -> RateRule {
    let name = spec.name.clone().unwrap_or_else(|| format!("rule-{}", index + 1));
    let is_name = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_name) {
        let message = format!("{name:?} is no name");
        values.fault(format!("{field}.name"), message, "use 1 to 63 of A-Z a-z 0-9 . _ -");
    }
    let requests = Some(spec.requests);
    let requests = values.number(&format!("{field}.requests"), requests, (1, 1_000_000)).unwrap_or(1);
    let per = values.duration(&format!("{field}.per"), spec.per.as_ref()).unwrap_or(SHORTEST);
    if !(SHORTEST..=LONGEST).contains(&per) {
        values.fault(format!("{field}.per"), "is out of range", "use 1s to 24h");
    }
    let burst = values.number(&format!("{field}.burst"), spec.burst, (1, 1_000_000)).unwrap_or(requests);
    let range = (256, 1_048_576);
    let most_keys = values.number(&format!("{field}.maxKeys"), spec.max_keys, range).unwrap_or(DEFAULT_KEYS);
    if spec.key.len() > MOST_PARTS {
        values.fault(format!("{field}.key"), format!("has {} parts", spec.key.len()), "use at most 4");
    }
    let parts = spec.key.iter().enumerate();
    let key = parts.filter_map(|(part, it)| self::key(it, &format!("{field}.key[{part}]"), values)).collect();
    RateRule { name, requests, per, burst, key, most_keys }
}

fn key(spec: &RateKeySpec, field: &str, values: &mut Values) -> Option<RateKey> {
    let has_name = matches!(spec.r#type, RateKeyType::Header | RateKeyType::Claim);
    if spec.name.is_some() && !has_name {
        values.fault(format!("{field}.name"), "has no meaning for this type", "remove it");
    }
    match spec.r#type {
        RateKeyType::ClientAddress => Some(RateKey::ClientAddress),
        RateKeyType::Path => Some(RateKey::Path),
        RateKeyType::Method => Some(RateKey::Method),
        RateKeyType::Constant => None,
        RateKeyType::Header => {
            let name = spec.name.as_deref().unwrap_or_default();
            if let Err(message) = syntax::header_name(name) {
                values.fault(format!("{field}.name"), message, "name the header");
            }
            Some(RateKey::Header(name.to_ascii_lowercase()))
        }
        RateKeyType::Claim => {
            let message = "claims can't be counted by: no policy verifies JWTs here";
            values.fault(format!("{field}.type"), message, "use Header or ClientAddress");
            None
        }
    }
}

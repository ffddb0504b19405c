//! `rateLimit`.

use super::global;
use crate::syntax;
use crate::values::Values;
use sluice_crds::{RateKeySpec, RateKeyType, RateLimitHeaders, RateLimitSpec, RateRuleSpec};
use sluice_ir::{Origin, RateKey, RateLimits, RateRule};
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
/// What to do about a name that is there twice.
const OWN_NAME: &str = "give each rule its own name";

/// Whose rules are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `rateLimit.local`.
    Local,
    /// `rateLimit.global`.
    Global,
}

impl Place {
    fn field(self) -> &'static str {
        match self {
            Self::Local => "rateLimit.local.rules",
            Self::Global => "rateLimit.global.rules",
        }
    }

    /// Begins the name of a rule that has none.
    fn name(self) -> &'static str {
        match self {
            Self::Local => "rule",
            Self::Global => "global",
        }
    }
}

/// Reads `rateLimit`.
pub(super) fn limits(spec: &RateLimitSpec, policy: &Origin, values: &mut Values) -> RateLimits {
    let is_off = spec.disabled == Some(true);
    let is_empty = spec.local.is_none() && spec.global.is_none();
    if is_off && !is_empty {
        let next_step = "remove disabled, or remove local and global";
        values.fault("rateLimit.disabled", "limits are set and switched off at the same time", next_step);
    }
    if !is_off && is_empty {
        let next_step = "add local or global; disabled: true switches off what less specific policies limit";
        values.fault("rateLimit", "has no limit", next_step);
    }
    let local = spec.local.as_ref().map(|it| rules(&it.rules, Place::Local, values)).unwrap_or_default();
    let global = spec.global.as_ref().map(|it| global::limits(it, policy, values));
    for (index, rule) in global.iter().flat_map(|it| it.rules.iter().enumerate()) {
        if local.iter().any(|it| it.name == rule.name) {
            let message = format!("{:?} names a local rule too", rule.name);
            values.fault(format!("{}[{index}].name", Place::Global.field()), message, OWN_NAME);
        }
    }
    RateLimits { local, global, tells: spec.response_headers != Some(RateLimitHeaders::Disabled) }
}

/// Reads a list of rules.
pub(super) fn rules(specs: &[RateRuleSpec], place: Place, values: &mut Values) -> Vec<RateRule> {
    match specs.len() {
        0 => values.fault(place.field(), "is empty", "add a rule"),
        1..=MOST_RULES => {}
        more => values.fault(place.field(), format!("has {more} rules"), "use at most 16"),
    }
    let mut rules: Vec<RateRule> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let field = format!("{}[{index}]", place.field());
        let rule = one(spec, index, place, &field, values);
        if rules.iter().any(|it| it.name == rule.name) {
            let message = format!("{:?} names an earlier rule too", rule.name);
            values.fault(format!("{field}.name"), message, OWN_NAME);
        }
        rules.push(rule);
    }
    rules
}

fn one(spec: &RateRuleSpec, index: usize, place: Place, field: &str, values: &mut Values) -> RateRule {
    let name = spec.name.clone().unwrap_or_else(|| format!("{}-{}", place.name(), index + 1));
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
    let most_keys = match (place, spec.max_keys) {
        (Place::Local, keys) => {
            values.number(&format!("{field}.maxKeys"), keys, (256, 1_048_576)).unwrap_or(DEFAULT_KEYS)
        }
        (Place::Global, Some(_)) => {
            let message = "has no meaning here: the server holds the keys";
            values.fault(format!("{field}.maxKeys"), message, "remove it");
            0
        }
        (Place::Global, None) => 0,
    };
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
            let name = spec.name.as_deref().unwrap_or_default();
            if name.is_empty() {
                let next_step = "name the claim, as sub or org.team";
                values.fault(format!("{field}.name"), "is missing", next_step);
            }
            Some(RateKey::Claim(name.split('.').map(str::to_owned).collect()))
        }
    }
}

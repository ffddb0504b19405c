//! How often requests may come, as this data plane counts them. The counting is `sluice-rate`'s; here requests become
//! keys.

use super::Claims;
use super::told::{Refused, Telling, Told};
use http::{HeaderMap, HeaderName, HeaderValue};
use sluice_ir::{self as ir, RateKey};
use sluice_rate::{KeySeed, Limiter, Quota};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Compiled [`ir::RateLimits`].
pub(crate) struct LocalRates {
    rules: Box<[Rule]>,
    telling: Telling,
    seed: KeySeed,
    /// What times count from.
    epoch: Instant,
}

struct Rule {
    rule: ir::RateRule,
    limiter: Arc<Limiter>,
    headers: Box<[Option<HeaderName>]>,
}

/// What of a request its key is made of.
pub(crate) struct Asking<'a> {
    pub(crate) client: IpAddr,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    /// Of a verified token.
    pub(crate) claims: Option<&'a Claims>,
}

impl Asking<'_> {
    /// The text of a claim; of a list there is none.
    pub(super) fn claim(&self, path: &[String]) -> Option<Cow<'_, str>> {
        self.claims?.text(path)
    }
}

impl LocalRates {
    /// Rules that did not change go on counting where they were.
    pub(crate) fn compile(limits: &ir::RateLimits, before: Option<&Self>) -> Self {
        let rule = |rule: &ir::RateRule| {
            let known = before.and_then(|it| it.rules.iter().find(|it| it.rule == *rule));
            let quota = Quota::new(rule.requests, rule.per, rule.burst);
            let limiter = known.map(|it| it.limiter.clone());
            Rule {
                limiter: limiter.unwrap_or_else(|| Arc::new(Limiter::new(quota, keys(rule)))),
                headers: rule.key.iter().map(header).collect(),
                rule: rule.clone(),
            }
        };
        Self {
            rules: limits.local.iter().map(rule).collect(),
            telling: Telling::new(&limits.local, limits.tells),
            seed: before.map(|it| it.seed.clone()).unwrap_or_default(),
            epoch: before.map_or_else(Instant::now, |it| it.epoch),
        }
    }

    /// Counts a request. The first rule that refuses it ends the count; those before have counted it.
    pub(crate) fn check(&self, asking: &Asking<'_>, now: Instant) -> Result<Told, Refused> {
        // Never 0, so that a key that nobody has seen is in the past.
        let now = now.saturating_duration_since(self.epoch).as_nanos().saturating_add(1);
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let mut words = String::new();
        for rule in &self.rules {
            let decision = rule.limiter.check(self.key(rule, asking), now);
            self.telling.add(&mut words, &rule.rule.name, &decision);
            if !decision.is_allowed {
                let told = self.telling.fields(words);
                return Err(Refused { retry_after: decision.retry_after, told });
            }
        }
        Ok(self.telling.fields(words))
    }

    fn key(&self, rule: &Rule, asking: &Asking<'_>) -> u64 {
        let mut key = self.seed.key();
        for (part, header) in rule.rule.key.iter().zip(&rule.headers) {
            match part {
                RateKey::ClientAddress => key.address(asking.client),
                RateKey::Header(_) => {
                    let value = header.as_ref().and_then(|name| asking.headers.get(name));
                    key.text(value.map(HeaderValue::as_bytes));
                }
                RateKey::Path => key.text(Some(asking.path.as_bytes())),
                RateKey::Method => key.text(Some(asking.method.as_bytes())),
                RateKey::Claim(path) => key.text(asking.claim(path).as_deref().map(str::as_bytes)),
            }
        }
        key.finish()
    }
}

/// A rule that counts all requests together needs one key.
fn keys(rule: &ir::RateRule) -> usize {
    if rule.key.is_empty() { 1 } else { rule.most_keys as usize }
}

/// The header that a part of a key means.
pub(super) fn header(part: &RateKey) -> Option<HeaderName> {
    match part {
        RateKey::Header(name) => name.parse().ok(),
        RateKey::ClientAddress | RateKey::Path | RateKey::Method | RateKey::Claim(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::told::{LIMIT, POLICY};
    use super::*;
    use std::time::Duration;

    fn rule(name: &str, requests: u32, key: Vec<RateKey>) -> ir::RateRule {
        let per = Duration::from_secs(60);
        ir::RateRule { name: name.to_owned(), requests, per, burst: requests, key, most_keys: 256 }
    }

    fn ask<'a>(headers: &'a HeaderMap, path: &'a str) -> Asking<'a> {
        Asking { client: "192.0.2.7".parse().unwrap(), headers, path, method: "GET", claims: None }
    }

    fn text(told: &Told, name: &HeaderName) -> String {
        let value = told.iter().find(|(field, _)| field == name).map(|(_, value)| value);
        value.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn each_key_has_its_own_allowance_and_is_told_of_it() {
        let key = vec![RateKey::Header("x-key".to_owned()), RateKey::Path];
        let limits = ir::RateLimits {
            local: vec![rule("by-key", 2, key), rule("all", 4, vec![])],
            global: None,
            tells: true,
        };
        let rates = LocalRates::compile(&limits, None);
        let now = Instant::now();
        let mut a = HeaderMap::new();
        a.insert("x-key", HeaderValue::from_static("a"));
        let told = rates.check(&ask(&a, "/"), now).unwrap();
        assert_eq!(text(&told, &LIMIT), "\"by-key\";r=1;t=30, \"all\";r=3;t=15");
        assert_eq!(text(&told, &POLICY), "\"by-key\";q=2;w=60, \"all\";q=4;w=60");
        assert!(rates.check(&ask(&a, "/"), now).is_ok());
        let refused = rates.check(&ask(&a, "/"), now).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(30));
        assert_eq!(text(&refused.told, &LIMIT), "\"by-key\";r=0;t=60");
        let none = HeaderMap::new();
        assert!(rates.check(&ask(&a, "/b"), now).is_ok() && rates.check(&ask(&none, "/"), now).is_ok());
        let refused = rates.check(&ask(&none, "/"), now).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(15), "the rule for all");
    }

    #[test]
    fn a_rule_that_did_not_change_goes_on_counting() {
        let limits = |other| ir::RateLimits {
            local: vec![rule("kept", 1, vec![RateKey::ClientAddress]), rule("other", other, vec![])],
            global: None,
            tells: false,
        };
        let none = HeaderMap::new();
        let now = Instant::now();
        let first = LocalRates::compile(&limits(5), None);
        assert!(first.check(&ask(&none, "/"), now).unwrap().is_empty());
        let second = LocalRates::compile(&limits(6), Some(&first));
        assert!(second.check(&ask(&none, "/"), now).is_err());
        assert!(LocalRates::compile(&limits(6), None).check(&ask(&none, "/"), now).is_ok());
    }
}

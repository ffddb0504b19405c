//! How often requests may come, as all data planes count them together in one server. What is counted where is the
//! server's (`redis`); here requests become keys, and its numbers decisions.
//!
//! A key is a hash of what it stands for, so that nothing of a client stands in the server in the clear. All data planes
//! make the same of the same: of the policy's name, the rule as it is written, and the parts. The password is hashed along,
//! so that who reads a copy of the server's memory can't find a client by trying all addresses.

use super::rates::{Asking, header};
use super::servers::{RateCounts, RateServers};
use super::told::{Refused, Telling, Told};
use crate::redis::{Failure, Redis, Script};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use sluice_ir::{self as ir, Origin, RateKey};
use sluice_rate::Decision;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a hash that a key has.
const KEY_BYTES: usize = 16;

/// Compiled [`ir::GlobalRates`].
pub(crate) struct GlobalRates {
    rules: Box<[Rule]>,
    script: Script,
    server: Arc<Redis>,
    key_prefix: String,
    timeout: Duration,
    on_failure: ir::OnRateFailure,
    telling: Telling,
    counts: Arc<RateCounts>,
}

struct Rule {
    rule: ir::RateRule,
    headers: Box<[Option<HeaderName>]>,
    /// Hash of what all keys of the rule have in common.
    hash: Sha256,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is counted and let through.
    Passes(Told),
    /// It comes too soon.
    Refused(Refused),
    /// Nobody counts, and the policy says that it is let through.
    Uncounted,
    /// Nobody counts, and the policy says that it is not.
    Denied,
}

impl GlobalRates {
    pub(crate) fn compile(
        policy: &Origin,
        limits: &ir::GlobalRates,
        tells: bool,
        servers: &RateServers,
    ) -> Self {
        let rule = |rule: &ir::RateRule| Rule {
            headers: rule.key.iter().map(header).collect(),
            hash: common(policy, rule, limits.server.password.as_ref()),
            rule: rule.clone(),
        };
        Self {
            rules: limits.rules.iter().map(rule).collect(),
            script: Script::new(&limits.rules),
            server: servers.server(&limits.server),
            key_prefix: format!("{}:", limits.server.key_prefix),
            timeout: limits.timeout,
            on_failure: limits.on_failure,
            telling: Telling::new(&limits.rules, tells),
            counts: servers.counts(format!("{}/{}", policy.namespace, policy.name)),
        }
    }

    /// Has a request counted: one round trip. The first rule that refuses it ends the count; those before have counted it.
    /// Dropping it does no harm.
    pub(crate) async fn check(&self, asking: &Asking<'_>) -> Answer {
        let keys: Vec<String> = self.rules.iter().map(|rule| self.key(rule, asking)).collect();
        let numbers = self.server.run(&self.script, &keys, self.timeout).await;
        match numbers.and_then(|it| self.answer(&it).ok_or(Failure::Error)) {
            Ok(answer) => answer,
            Err(why) => {
                let is_let_through = self.on_failure == ir::OnRateFailure::Allow;
                self.counts.failed(why, is_let_through);
                if is_let_through { Answer::Uncounted } else { Answer::Denied }
            }
        }
    }

    /// From the script's numbers: the rule that refuses, then what is left of each rule that was asked and until when.
    /// `None`: no script of ours says this.
    fn answer(&self, numbers: &[i64]) -> Option<Answer> {
        let (refusing, standings) = numbers.split_first()?;
        let refusing = usize::try_from(*refusing).ok().filter(|it| *it <= self.rules.len())?;
        let asked = if refusing == 0 { self.rules.len() } else { refusing };
        if standings.len() != 2 * asked {
            return None;
        }
        let mut words = String::new();
        let mut retry_after = Duration::ZERO;
        for (index, (rule, standing)) in self.rules.iter().zip(standings.chunks_exact(2)).enumerate() {
            let is_allowed = refusing != index + 1;
            let decision = decision(&rule.rule, is_allowed, standing);
            self.telling.add(&mut words, &rule.rule.name, &decision);
            retry_after = retry_after.max(decision.retry_after);
        }
        let told = self.telling.fields(words);
        self.counts.decided(refusing == 0);
        Some(if refusing == 0 {
            Answer::Passes(told)
        } else {
            Answer::Refused(Refused { retry_after, told })
        })
    }

    fn key(&self, rule: &Rule, asking: &Asking<'_>) -> String {
        let mut hash = rule.hash.clone();
        for (part, header) in rule.rule.key.iter().zip(&rule.headers) {
            match part {
                RateKey::ClientAddress => add_address(&mut hash, asking.client),
                RateKey::Header(_) => {
                    let value = header.as_ref().and_then(|name| asking.headers.get(name));
                    add(&mut hash, value.map(HeaderValue::as_bytes));
                }
                RateKey::Path => add(&mut hash, Some(asking.path.as_bytes())),
                RateKey::Method => add(&mut hash, Some(asking.method.as_bytes())),
                RateKey::Claim(path) => add(&mut hash, asking.claim(path).as_deref().map(str::as_bytes)),
            }
        }
        let hash = hash.finalize();
        let mut key = String::with_capacity(self.key_prefix.len() + KEY_BYTES * 4 / 3 + 2);
        key.push_str(&self.key_prefix);
        URL_SAFE_NO_PAD.encode_string(hash.get(..KEY_BYTES).unwrap_or_default(), &mut key);
        key
    }
}

fn decision(rule: &ir::RateRule, is_allowed: bool, standing: &[i64]) -> Decision {
    let number = |index: usize| standing.get(index).copied().and_then(|it| u64::try_from(it).ok());
    let remaining = number(0).and_then(|it| u32::try_from(it).ok()).unwrap_or_default();
    let reset = Duration::from_micros(number(1).unwrap_or_default());
    // One is let through when all but one less than the burst is there again.
    let kept = rule.per.saturating_mul(rule.burst.saturating_sub(1)) / rule.requests.max(1);
    let retry_after = if is_allowed { Duration::ZERO } else { reset.saturating_sub(kept) };
    Decision { is_allowed, remaining: remaining.min(rule.burst), reset, retry_after }
}

/// What all keys of a rule begin with. A rule that is changed counts anew.
fn common(policy: &Origin, rule: &ir::RateRule, password: Option<&ir::Password>) -> Sha256 {
    let mut hash = Sha256::new();
    add(&mut hash, password.map(ir::Password::expose));
    for text in [&*policy.namespace, &*policy.name, rule.name.as_str()] {
        add(&mut hash, Some(text.as_bytes()));
    }
    hash.update(rule.requests.to_be_bytes());
    hash.update(rule.per.as_nanos().to_be_bytes());
    hash.update(rule.burst.to_be_bytes());
    for part in &rule.key {
        let (kind, name): (u8, Cow<'_, str>) = match part {
            RateKey::ClientAddress => (1, "".into()),
            RateKey::Header(name) => (2, name.as_str().into()),
            RateKey::Path => (3, "".into()),
            RateKey::Method => (4, "".into()),
            RateKey::Claim(path) => (5, path.join(".").into()),
        };
        hash.update([kind]);
        add(&mut hash, Some(name.as_bytes()));
    }
    hash
}

/// Adds a text; what is absent differs from what is empty.
fn add(hash: &mut Sha256, text: Option<&[u8]>) {
    let len = text.map_or(0, |it| it.len() as u64 + 1);
    hash.update(len.to_be_bytes());
    hash.update(text.unwrap_or_default());
}

/// As `sluice-rate` takes addresses: all of one /64 of IPv6 are one client.
fn add_address(hash: &mut Sha256, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => add(hash, Some(&address.octets())),
        IpAddr::V6(address) => add(hash, address.octets().get(..8)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::upstream::Resolver;
    use http::HeaderMap;

    fn rule(name: &str, key: Vec<RateKey>) -> ir::RateRule {
        let per = Duration::from_secs(60);
        ir::RateRule { name: name.to_owned(), requests: 60, per, burst: 5, key, most_keys: 0 }
    }

    /// Outside of a tokio runtime, where nobody is asked.
    fn rates(rules: Vec<ir::RateRule>, password: Option<&str>, on_failure: ir::OnRateFailure) -> GlobalRates {
        let server = ir::RateServer {
            host: "redis.test".to_owned(),
            port: 6379,
            database: 0,
            key_prefix: "sluice".to_owned(),
            username: None,
            password: password.map(|it| ir::Password::new(it.as_bytes())),
            tls: None,
            fail: None,
        };
        let limits = ir::GlobalRates { rules, server, timeout: Duration::from_millis(20), on_failure };
        let policy = Origin::new("TrafficPolicy", "shop", "a");
        GlobalRates::compile(&policy, &limits, true, &RateServers::new(Resolver::system()))
    }

    fn key(rates: &GlobalRates, client: &str, path: &str) -> String {
        let headers = HeaderMap::new();
        let asking =
            Asking { client: client.parse().unwrap(), headers: &headers, path, method: "GET", claims: None };
        rates.key(&rates.rules[0], &asking)
    }

    #[test]
    fn a_key_is_a_hash_that_every_data_plane_makes_alike() {
        let allow = ir::OnRateFailure::Allow;
        let by_client = || vec![rule("a", vec![RateKey::ClientAddress])];
        let (one, other) = (rates(by_client(), None, allow), rates(by_client(), None, allow));
        assert_eq!(key(&one, "192.0.2.1", "/"), key(&other, "192.0.2.1", "/x"));
        assert_eq!(key(&one, "192.0.2.1", "/").len(), "sluice:".len() + 22);
        assert_eq!(key(&one, "2001:db8::1", "/"), key(&one, "2001:db8::2:3", "/"));
        assert_ne!(key(&one, "192.0.2.1", "/"), key(&one, "192.0.2.2", "/"));
        let secret = rates(by_client(), Some("s"), allow);
        assert_ne!(key(&one, "192.0.2.1", "/"), key(&secret, "192.0.2.1", "/"));
        let changed = rates(vec![ir::RateRule { burst: 6, ..by_client().remove(0) }], None, allow);
        assert_ne!(key(&one, "192.0.2.1", "/"), key(&changed, "192.0.2.1", "/"));
        let by_path = rates(vec![rule("a", vec![RateKey::Path])], None, allow);
        assert_ne!(key(&by_path, "192.0.2.1", "/"), key(&by_path, "192.0.2.1", "/x"));
    }

    #[test]
    fn numbers_become_decisions() {
        let rates = rates(vec![rule("a", vec![]), rule("b", vec![])], None, ir::OnRateFailure::Allow);
        let Some(Answer::Passes(told)) = rates.answer(&[0, 4, 1_000_000, 0, 4_500_000]) else { panic!() };
        assert_eq!(told[0].1, "\"a\";r=4;t=1, \"b\";r=0;t=5");
        assert_eq!(told[1].1, "\"a\";q=60;w=60, \"b\";q=60;w=60");
        let Some(Answer::Refused(refused)) = rates.answer(&[2, 3, 2_000_000, 0, 4_250_000]) else { panic!() };
        assert_eq!(refused.retry_after, Duration::from_millis(250));
        assert_eq!(refused.told[0].1, "\"a\";r=3;t=2, \"b\";r=0;t=5");
        let odd: [&[i64]; 6] = [&[], &[7], &[-1, -5, -5], &[0, 1, 1], &[1, 2], &[3, 1, 1, 1, 1, 1, 1]];
        assert!(odd.iter().all(|it| rates.answer(it).is_none()));
        let Some(Answer::Passes(told)) = rates.answer(&[0, i64::MAX, i64::MAX, i64::MIN, -1]) else {
            panic!()
        };
        assert_eq!(told[0].1, "\"a\";r=0;t=9223372036855, \"b\";r=0;t=0");
    }

    #[test]
    fn without_a_server_the_policy_says_what_happens() {
        let headers = HeaderMap::new();
        let asking = Asking {
            client: "192.0.2.1".parse().unwrap(),
            headers: &headers,
            path: "/",
            method: "GET",
            claims: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ask = |on_failure| {
            let rates = rates(vec![rule("a", vec![])], None, on_failure);
            let answer = runtime.block_on(rates.check(&asking));
            (answer, rates.counts.failures()[0], rates.counts.decisions())
        };
        let (answer, failures, decisions) = ask(ir::OnRateFailure::Allow);
        assert!(matches!(answer, Answer::Uncounted) && failures == ("down", 1), "{answer:?}");
        assert_eq!(decisions[2], ("failed_allowed", 1));
        let (answer, _, decisions) = ask(ir::OnRateFailure::Deny);
        assert!(matches!(answer, Answer::Denied), "{answer:?}");
        assert_eq!(decisions[3], ("failed_denied", 1));
    }
}

//! Words for what TrafficPolicies set, each with the policy that it comes from.

use super::describe;
use sluice_ir::{
    AdaptiveConcurrency, Cache, ClientRules, Coding, Compression, Decompression, ExtAuth, FaultSelector,
    Faults, Hedging, OnRateFailure, Origin, RateKey, RateLimits, RequestBuffer, RequestLimits, Rule,
    Timeouts, TrafficSettings,
};

/// A line for each setting that holds for a rule: its name, the policy, the words.
pub(super) fn lines<'a>(
    settings: &'a TrafficSettings,
    rule: &Rule,
) -> Vec<(&'static str, &'a Origin, String)> {
    let words = |setting: &str| -> Option<Vec<String>> {
        Some(match setting {
            "clients" => clients(&settings.clients.as_ref()?.value),
            "limits" => limits(&settings.limits.as_ref()?.value),
            "rateLimit" => rates(&settings.rate_limit.as_ref()?.value),
            "faults" => faults(&settings.faults.as_ref()?.value),
            "decompression" => decompression(&settings.decompression.as_ref()?.value),
            "cache" => cache(&settings.cache.as_ref()?.value),
            "compression" => compression(&settings.compression.as_ref()?.value),
            "buffer" => buffer(&settings.buffer.as_ref()?.value),
            "concurrency" => concurrency(&settings.concurrency.as_ref()?.value),
            "hedging" => hedging(&settings.hedging.as_ref()?.value),
            "extAuth" => vec![ext_auth(&settings.ext_auth.as_ref()?.value)],
            "timeouts" => timeouts(&settings.timeouts.as_ref()?.value, rule),
            _ => return None,
        })
    };
    let mut lines = Vec::new();
    for (setting, policy) in settings.given() {
        for text in words(setting).unwrap_or_default() {
            lines.push((setting, policy, format!("{text} ({policy})")));
        }
    }
    lines
}

/// How many ranges of a list are shown.
const MOST_RANGES: usize = 5;

fn clients(it: &ClientRules) -> Vec<String> {
    let allow = it.allow.as_ref().map(|list| format!("only clients of {} are let in", ranges(list)));
    let deny = (!it.deny.is_empty()).then(|| format!("clients of {} get 403", ranges(&it.deny)));
    allow.into_iter().chain(deny).collect()
}

fn ranges(list: &[impl ToString]) -> String {
    let shown: Vec<String> = list.iter().take(MOST_RANGES).map(ToString::to_string).collect();
    let more = list.len().saturating_sub(MOST_RANGES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

fn limits(it: &RequestLimits) -> Vec<String> {
    let body = it.request_body_bytes.map(|bytes| format!("a body above {bytes} bytes gets 413"));
    let fields = it.request_headers.map(|count| format!("more than {count} header fields get 431"));
    let bytes = it.request_header_bytes.map(|bytes| format!("header fields above {bytes} bytes get 431"));
    body.into_iter().chain(fields).chain(bytes).collect()
}

fn rates(it: &RateLimits) -> Vec<String> {
    let key = |part: &RateKey| match part {
        RateKey::ClientAddress => "client address".to_owned(),
        RateKey::Header(name) => format!("header {name}"),
        RateKey::Path => "path".to_owned(),
        RateKey::Method => "method".to_owned(),
        RateKey::Claim(path) => format!("claim {}", path.join(".")),
    };
    let rule = |it: &sluice_ir::RateRule| {
        let keys: Vec<String> = it.key.iter().map(key).collect();
        let of =
            if keys.is_empty() { "in all".to_owned() } else { format!("for each {}", keys.join(" and ")) };
        let per = describe::duration(it.per);
        let (requests, burst) = (it.requests, it.burst);
        format!(
            "rate limit {:?}: {requests} requests in {per} {of}, {burst} at once; others get 429",
            it.name
        )
    };
    let Some(global) = &it.global else {
        let off = it.local.is_empty().then(|| "rate limits are switched off here".to_owned());
        return it.local.iter().map(rule).chain(off).collect();
    };
    let server = &global.server;
    let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
    let otherwise = match (&server.fail, global.on_failure) {
        (Some(reason), OnRateFailure::Allow) => format!("; it can't be used ({reason}): nothing is limited"),
        (Some(reason), OnRateFailure::Deny) => format!("; it can't be used ({reason}): all get 503"),
        (None, OnRateFailure::Allow) => String::new(),
        (None, OnRateFailure::Deny) => "; 503 when it gives no answer".to_owned(),
    };
    let counted = format!(" (counted by {host}:{}{otherwise})", server.port);
    let of_server = global.rules.iter().map(|it| format!("global {}{counted}", rule(it)));
    it.local.iter().map(rule).chain(of_server).collect()
}

fn faults(it: &Faults) -> Vec<String> {
    let of = |it: &FaultSelector| {
        let share = f64::from(it.fraction.numerator) * 100.0 / f64::from(it.fraction.denominator.max(1));
        let names: Vec<&str> = it.headers.iter().map(|it| it.name.as_str()).collect();
        let whose =
            if names.is_empty() { String::new() } else { format!(" whose {} fits", names.join(" and ")) };
        format!("{} % of the requests{whose}", describe::rounded(share))
    };
    if *it == Faults::default() {
        return vec!["faults are switched off here".to_owned()];
    }
    let delay = it.delay.as_ref();
    let delay = delay.map(|it| format!("fault: {} wait {}", of(&it.of), describe::duration(it.duration)));
    let abort = it.abort.as_ref().map(|it| format!("fault: {} get {}", of(&it.of), it.status));
    delay.into_iter().chain(abort).collect()
}

fn decompression(it: &Decompression) -> Vec<String> {
    if it.codings.is_empty() {
        return vec!["request bodies go on as they are".to_owned()];
    }
    let (bytes, ratio) = (it.most_bytes, it.most_ratio);
    let others = if it.refuses_others { "others get 415" } else { "others are forwarded" };
    vec![format!(
        "request bodies in {} are unpacked, up to {bytes} bytes and {ratio} times their size; {others}",
        tokens(it.codings.iter().copied())
    )]
}

fn cache(it: &Cache) -> Vec<String> {
    if it.most_bytes == 0 {
        return vec!["no answers are kept".to_owned()];
    }
    let (bytes, object) = (it.most_bytes, it.most_object_bytes);
    let default = it.default_ttl.map(|ttl| format!(", {} where they do not say", describe::duration(ttl)));
    vec![format!(
        "answers are kept as long as they allow{}: {bytes} bytes in all, {object} of one",
        default.unwrap_or_default()
    )]
}

fn compression(it: &Compression) -> Vec<String> {
    if it.codings.is_empty() {
        return vec!["answers are not compressed".to_owned()];
    }
    let codings = tokens(it.codings.iter().map(|it| it.coding));
    let below = match it.exempt_paths.is_empty() {
        true => String::new(),
        false => format!(", not below {}", it.exempt_paths.join(", ")),
    };
    vec![format!(
        "answers of {} from {} bytes on are compressed by {codings}{below}",
        ranges(&it.types),
        it.least_bytes
    )]
}

fn tokens(codings: impl Iterator<Item = Coding>) -> String {
    let tokens: Vec<_> = codings.map(Coding::token).collect();
    tokens.join(", ")
}

fn buffer(it: &RequestBuffer) -> Vec<String> {
    vec![match it.max_bytes {
        0 => "requests are not buffered".to_owned(),
        bytes => format!(
            "requests are read whole before an endpoint is chosen; a body above {bytes} bytes gets 413"
        ),
    }]
}

fn concurrency(it: &AdaptiveConcurrency) -> Vec<String> {
    if it.max_requests == 0 {
        return vec!["no adaptive limit".to_owned()];
    }
    let AdaptiveConcurrency { min_requests, max_requests, latency_increase_percent, .. } = it;
    vec![format!(
        "at most {min_requests} to {max_requests} requests at one time, as many as make answers {latency_increase_percent} % \
         slower; others get 503"
    )]
}

fn hedging(it: &Hedging) -> Vec<String> {
    if it.extra_tries == 0 {
        return vec!["no further tries beside slow ones".to_owned()];
    }
    let methods = if it.methods.is_empty() { "idempotent".to_owned() } else { it.methods.join(", ") };
    vec![format!(
        "{methods} requests without an answer after {} have up to {} further tries, {} % of the requests at most",
        describe::duration(it.delay),
        it.extra_tries,
        it.percent
    )]
}

fn ext_auth(it: &ExtAuth) -> String {
    match it {
        ExtAuth::Off => "no authoriser is asked".to_owned(),
        ExtAuth::Ask(it) => describe::authorizer(it),
    }
}

/// What the rule does not say itself.
fn timeouts(it: &Timeouts, rule: &Rule) -> Vec<String> {
    let own = rule.timeouts.as_deref().cloned().unwrap_or_default();
    let left = Timeouts {
        request: it.request.filter(|_| own.request.is_none()),
        backend_request: it.backend_request.filter(|_| own.backend_request.is_none()),
    };
    describe::timeouts(&left)
}

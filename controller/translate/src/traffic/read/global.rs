//! `rateLimit.global`: its rules, and the server that counts.

use super::rate::{Place, rules};
use crate::model::RateServerSecrets;
use crate::syntax;
use crate::values::Values;
use sluice_crds::{GlobalRateLimitSpec, RateLimitFailure, RedisSpec, RedisTlsSpec};
use sluice_ir::{GlobalRates, OnRateFailure, Origin, RateServer, Trust, UpstreamTls};
use std::net::SocketAddr;
use std::time::Duration;

/// Where the field is.
const FIELD: &str = "rateLimit.global";
/// Begins the names of keys where the policy says nothing.
const DEFAULT_PREFIX: &str = "sluice";
/// How long a request waits where the policy says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(1);

/// Reads `rateLimit.global`. What the server's Secrets hold is filled in where the policy is laid over its targets.
pub(super) fn limits(spec: &GlobalRateLimitSpec, policy: &Origin, values: &mut Values) -> GlobalRates {
    let timeout = values.duration(&format!("{FIELD}.timeout"), spec.timeout.as_ref());
    let timeout = timeout.unwrap_or(DEFAULT_TIMEOUT);
    if !(SHORTEST..=LONGEST).contains(&timeout) {
        values.fault(format!("{FIELD}.timeout"), "is out of range", "use 1ms to 1s");
    }
    GlobalRates {
        rules: rules(&spec.rules, Place::Global, values),
        server: server(&spec.redis, policy, values),
        timeout,
        on_failure: match spec.on_failure {
            Some(RateLimitFailure::Deny) => OnRateFailure::Deny,
            Some(RateLimitFailure::Allow) | None => OnRateFailure::Allow,
        },
    }
}

/// The Secrets that the server is reached with.
pub(super) fn secrets(spec: &RedisSpec) -> RateServerSecrets {
    let tls = spec.tls.as_ref().and_then(|it| it.secret_ref.as_ref());
    RateServerSecrets {
        credentials: spec.credentials_ref.as_ref().map(|it| it.name.as_str().into()),
        tls: tls.map(|it| it.name.as_str().into()),
    }
}

fn server(spec: &RedisSpec, policy: &Origin, values: &mut Values) -> RateServer {
    let (host, port) = match address(&spec.address) {
        Ok(address) => address,
        Err(message) => {
            let next_step = "write it as redis.example.com:6379, 192.0.2.7:6379 or [2001:db8::7]:6379";
            values.fault(format!("{FIELD}.redis.address"), message, next_step);
            (String::new(), 0)
        }
    };
    let database = values.number(&format!("{FIELD}.redis.database"), spec.database, (0, 65_535));
    let key_prefix = spec.key_prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
    let fits = |it: u8| it.is_ascii_alphanumeric() || b"._:-".contains(&it);
    if key_prefix.is_empty() || key_prefix.len() > 64 || !key_prefix.bytes().all(fits) {
        let message = format!("{key_prefix:?} can't begin keys");
        values.fault(format!("{FIELD}.redis.keyPrefix"), message, "use 1 to 64 of A-Z a-z 0-9 . _ : -");
    }
    let mut named = |field: &str, name: Option<&str>| {
        if name == Some("") {
            values.fault(format!("{FIELD}.redis.{field}.name"), "is empty", "name a Secret");
        }
    };
    named("credentialsRef", spec.credentials_ref.as_ref().map(|it| it.name.as_str()));
    let of_tls = spec.tls.as_ref().and_then(|it| it.secret_ref.as_ref());
    named("tls.secretRef", of_tls.map(|it| it.name.as_str()));
    RateServer {
        tls: spec.tls.as_ref().map(|it| Box::new(tls(it, &host, policy, values))),
        host,
        port,
        database: database.unwrap_or_default(),
        key_prefix: key_prefix.to_owned(),
        username: None,
        password: None,
        fail: None,
    }
}

fn tls(spec: &RedisTlsSpec, host: &str, policy: &Origin, values: &mut Values) -> UpstreamTls {
    let name = spec.server_name.as_deref();
    if let Some(name) = name
        && let Err(message) = syntax::hostname(name, false)
    {
        values.fault(format!("{FIELD}.redis.tls.serverName"), message, "write the name of its certificate");
    }
    UpstreamTls {
        origin: policy.clone(),
        server_name: name.unwrap_or(host).to_owned(),
        subject_names: Vec::new(),
        trust: Trust::System,
        revocations: None,
        certificate: None,
    }
}

/// HOST:PORT, the host in lower case.
fn address(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => {
            let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no port"))?;
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
            syntax::hostname(&host, false)?;
            (host, port)
        }
    };
    if port == 0 { Err("0 is no port".to_owned()) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let ok = |text: &str, host: &str| assert_eq!(address(text), Ok((host.to_owned(), 6379)), "{text}");
        ok("Redis.shop.svc.:6379", "redis.shop.svc");
        ok("localhost:6379", "localhost");
        ok("192.0.2.7:6379", "192.0.2.7");
        ok("[2001:db8::7]:6379", "2001:db8::7");
        for bad in [
            "",
            "redis",
            "redis:",
            "redis:0",
            "redis:65536",
            "redis://a:1",
            "2001:db8::7:6379",
            ":1",
            "a b:1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}

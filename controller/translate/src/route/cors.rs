//! The CORS filter (GEP-1767).

use super::faults::Faults;
use crate::syntax;
use sluice_ir::{Cors, CorsOrigin};
use std::time::Duration;

/// `cors` as written.
#[derive(Debug)]
pub(crate) struct RawCors {
    pub(crate) allow_origins: Vec<String>,
    pub(crate) allow_credentials: bool,
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) expose_headers: Vec<String>,
    pub(crate) max_age: Option<i32>,
}

macro_rules! raw_cors {
    ($it:expr) => {
        $it.as_ref().map(|it| $crate::route::cors::RawCors {
            allow_origins: it.allow_origins.clone().unwrap_or_default(),
            allow_credentials: it.allow_credentials.unwrap_or(false),
            allow_methods: it.allow_methods.clone().unwrap_or_default(),
            allow_headers: it.allow_headers.clone().unwrap_or_default(),
            expose_headers: it.expose_headers.clone().unwrap_or_default(),
            max_age: it.max_age,
        })
    };
}
pub(crate) use raw_cors;

/// Reads the filter; `None` when a value can't be used.
pub(crate) fn read(raw: RawCors, field: &str, faults: &mut Faults) -> Option<Cors> {
    let before = faults.hard_count();
    let mut allow_origins = Vec::with_capacity(raw.allow_origins.len());
    for (index, text) in raw.allow_origins.iter().enumerate() {
        match origin(text) {
            Ok(origin) => allow_origins.push(origin),
            Err(message) => faults.value(format!("{field}.allowOrigins[{index}]"), message, ""),
        }
    }
    names(&raw.allow_methods, &format!("{field}.allowMethods"), faults);
    names(&raw.allow_headers, &format!("{field}.allowHeaders"), faults);
    names(&raw.expose_headers, &format!("{field}.exposeHeaders"), faults);
    let max_age = u64::try_from(raw.max_age.unwrap_or(5)).unwrap_or(0);
    if max_age == 0 {
        faults.value(format!("{field}.maxAge"), "must be at least 1 second", "use 5, the default, or more");
    }
    (faults.hard_count() == before).then(|| Cors {
        allow_origins,
        allow_credentials: raw.allow_credentials,
        allow_methods: raw.allow_methods,
        allow_headers: raw.allow_headers,
        expose_headers: raw.expose_headers,
        max_age: Duration::from_secs(max_age),
    })
}

/// Methods and header names; `*` is all of them.
fn names(list: &[String], field: &str, faults: &mut Faults) {
    for (index, name) in list.iter().enumerate() {
        if name != "*" {
            faults.check(format!("{field}[{index}]"), syntax::header_name(name));
        }
    }
    if list.len() > 1 && list.iter().any(|it| it == "*") {
        faults.value(field, "\"*\" must stand alone", "remove the other entries");
    }
}

/// `*`, `https://app.example.com:8443` or `https://*.example.com`.
fn origin(text: &str) -> Result<CorsOrigin, String> {
    if text == "*" {
        return Ok(CorsOrigin::Any);
    }
    let wrong = || {
        format!("{text:?} is no origin; for example https://app.example.com or https://*.example.com:8443")
    };
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
    let is_scheme = scheme.bytes().next().is_some_and(|it| it.is_ascii_lowercase())
        && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
    if !is_scheme {
        return Err(wrong());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().map_err(|_| wrong())?)),
        _ => (authority, None),
    };
    let is_ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok();
    if !is_ip && host != "*" {
        syntax::hostname(host, true).map_err(|_| wrong())?;
    }
    let is_default = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
    let port = port.filter(|_| !is_default).map(|it| format!(":{it}")).unwrap_or_default();
    match host.strip_prefix('*') {
        Some(suffix) => {
            Ok(CorsOrigin::Wildcard { scheme: format!("{scheme}://"), suffix: format!("{suffix}{port}") })
        }
        None => Ok(CorsOrigin::Exact(format!("{scheme}://{host}{port}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;
    use sluice_ir::CorsOrigin;

    #[test]
    fn origins_are_lower_case_and_without_default_port() {
        assert_eq!(origin("*"), Ok(CorsOrigin::Any));
        assert_eq!(
            origin("https://A.example.com:443"),
            Ok(CorsOrigin::Exact("https://a.example.com".to_owned()))
        );
        assert_eq!(origin("http://a:8080"), Ok(CorsOrigin::Exact("http://a:8080".to_owned())));
        let wildcard =
            CorsOrigin::Wildcard { scheme: "https://".to_owned(), suffix: ".a.com:8443".to_owned() };
        assert_eq!(origin("https://*.a.com:8443"), Ok(wildcard));
        for bad in ["a.com", "https://", "https://a.com/path", "https://a.com:x", "://a", "https://a.*.com"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}

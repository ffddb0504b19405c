//! Where keys may be fetched from. What a policy names is asked by data planes, which stand inside: so a name leads to the
//! internet alone, unless it is a Service's, or a ServiceEntry says that it is inside.

use crate::view::View;
use sluice_ir::{JwtKeys, JwtRule, KeyReach};

/// The parts of an address that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) is_tls: bool,
    /// Lower case, without brackets.
    pub(super) host: String,
}

/// Takes `https://HOST[:PORT]/PATH` apart; `Err`: what is wrong with it.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("{text:?} is no address"))?;
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        other => return Err(format!("{other:?} is no scheme that keys are fetched by")),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("it holds a user, which would be in every log".to_owned());
    }
    let is_plain = |it: char| {
        it.is_ascii_graphic() && !matches!(it, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '#')
    };
    if !path.chars().all(is_plain) {
        return Err(format!("{path:?} is no path"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("its host is no address")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "its host is no address")?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or("its port is no number")?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    if !port.is_empty() && !port.parse::<u16>().is_ok_and(|it| it != 0) {
        return Err(format!("{port:?} is no port"));
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if !authority.starts_with('[') && host.parse::<std::net::IpAddr>().is_err() {
        crate::syntax::hostname(&host, false)?;
    }
    Ok(Place { is_tls, host })
}

/// The address that keys of a rule are asked for at first: of the set, or of the issuer that says where it is.
pub(super) fn asked(rule: &JwtRule) -> Option<&str> {
    match &rule.keys {
        JwtKeys::Inline(_) => None,
        JwtKeys::Fetched { uri, .. } if uri.is_empty() => Some(&rule.issuer),
        JwtKeys::Fetched { uri, .. } => Some(uri),
    }
}

/// The rule with what its host may lead to. Notes which ServiceEntries were looked at.
pub(super) fn reaching(view: &View<'_>, home: &str, rule: &JwtRule) -> JwtRule {
    let mut rule = rule.clone();
    let place = asked(&rule).and_then(|it| place(it).ok());
    if let (Some(place), JwtKeys::Fetched { reach, .. }) = (place, &mut rule.keys) {
        *reach = of_host(view, home, &place.host);
    }
    rule
}

/// What a host may lead to.
pub(super) fn of_host(view: &View<'_>, home: &str, host: &str) -> KeyReach {
    let is_inside = view.entries_of(host).iter().any(|it| !it.is_external() && it.is_visible_in(home));
    let short = host.strip_suffix(".svc").map(|it| format!("{it}.svc.{}", view.options().cluster_domain));
    let is_service = view.domain().service(short.as_deref().unwrap_or(host)).is_some();
    match (is_inside, is_service) {
        (true, _) => KeyReach::Any,
        (false, true) => KeyReach::Cluster,
        (false, false) => KeyReach::Public,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::place;

    #[test]
    fn an_address_is_of_http_and_names_a_host() {
        for (text, is_tls, host) in [
            ("https://id.example.com/keys", true, "id.example.com"),
            ("HTTP://ID.example.com:8080", false, "id.example.com"),
            ("https://id.auth.svc.cluster.local./a?b=c", true, "id.auth.svc.cluster.local"),
            ("https://10.0.0.1/", true, "10.0.0.1"),
            ("https://[fd00::1]:443/", true, "fd00::1"),
            ("http://localhost:80/", false, "localhost"),
        ] {
            let place = place(text).unwrap();
            assert_eq!((place.is_tls, place.host.as_str()), (is_tls, host), "{text}");
        }
        for bad in [
            "",
            "id.example.com",
            "ftp://a.example.com",
            "file:///etc/passwd",
            "https://",
            "https:///a",
            "https://u:p@a.example.com/",
            "https://a.example.com:0/",
            "https://a.example.com:99999/",
            "https://a b.example.com/",
            "https://a.example.com/a b",
            "https://a.example.com/\r\nx: y",
            "https://[10.0.0.1]/",
            "https://[::1/",
            "https://a_b!/",
        ] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }
}

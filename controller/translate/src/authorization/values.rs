//! Single values of a policy: the forms of text that Istio compares by, networks, ports, service accounts.

use crate::model::network;
use ipnet::IpNet;
use sluice_ir::ValueMatch;

/// What is wrong with a value, and what to do.
pub(super) type Wrong = (String, &'static str);

/// `abc`, `abc*`, `*abc`, `*`.
pub(super) fn text(value: &str) -> Result<ValueMatch, Wrong> {
    if value.is_empty() {
        return Err(("is empty".to_owned(), "remove it, or say what is meant"));
    }
    Ok(match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => ValueMatch::Present,
        (_, Some(end), _) => ValueMatch::Suffix(end.to_owned()),
        (_, _, Some(start)) => ValueMatch::Prefix(start.to_owned()),
        _ => ValueMatch::Exact(value.to_owned()),
    })
}

/// A namespace, with `*` for any text anywhere in it.
pub(super) fn namespace(value: &str) -> Result<ValueMatch, Wrong> {
    let stars = value.matches('*').count();
    let is_at_an_end = value.starts_with('*') || value.ends_with('*');
    if stars == 0 || (stars == 1 && is_at_an_end) {
        return text(value);
    }
    Ok(ValueMatch::Parts(value.split('*').map(str::to_owned).collect()))
}

/// `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`; `spiffe://` in front is taken off.
pub(super) fn principal(value: &str) -> Result<ValueMatch, Wrong> {
    text(value.strip_prefix("spiffe://").unwrap_or(value))
}

/// An address or a network.
pub(super) fn block(value: &str) -> Result<IpNet, Wrong> {
    network(value).map_err(|message| (message, "write it as 10.0.0.0/8 or 10.1.2.3"))
}

/// The same where text may stand too.
pub(super) fn block_value(value: &str) -> Result<ValueMatch, Wrong> {
    block(value).map(ValueMatch::Network)
}

/// A port.
pub(super) fn port(value: &str) -> Result<u16, Wrong> {
    let number = value.parse::<u16>().ok().filter(|it| *it > 0);
    number.ok_or_else(|| (format!("{value:?} is no port"), "use 1 to 65535"))
}

/// The same where text may stand too.
pub(super) fn port_value(value: &str) -> Result<ValueMatch, Wrong> {
    port(value).map(|it| ValueMatch::Exact(it.to_string()))
}

/// `NAMESPACE/SERVICE-ACCOUNT`, or `SERVICE-ACCOUNT` of namespace `home`.
pub(super) fn service_account(value: &str, home: &str) -> Result<String, Wrong> {
    let (namespace, name) = value.split_once('/').unwrap_or((home, value));
    let is_name = |it: &str| !it.is_empty() && !it.contains(['*', '/']);
    if is_name(namespace) && is_name(name) {
        return Ok(format!("{namespace}/{name}"));
    }
    let message = format!("{value:?} is no service account");
    Err((message, "write it as NAMESPACE/NAME, or NAME for one of the policy's namespace, without *"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_star_at_one_end_stands_for_any_text() {
        for (value, expected) in [
            ("*", ValueMatch::Present),
            ("abc", ValueMatch::Exact("abc".to_owned())),
            ("abc*", ValueMatch::Prefix("abc".to_owned())),
            ("*abc", ValueMatch::Suffix("abc".to_owned())),
            ("*abc*", ValueMatch::Suffix("abc*".to_owned())),
            ("a*b", ValueMatch::Exact("a*b".to_owned())),
        ] {
            assert_eq!(text(value).unwrap(), expected, "{value}");
        }
        assert!(text("").is_err());
    }

    #[test]
    fn a_star_may_stand_anywhere_in_a_namespace() {
        let parts = |it: &[&str]| ValueMatch::Parts(it.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(namespace("a*c").unwrap(), parts(&["a", "c"]));
        assert_eq!(namespace("*b*").unwrap(), parts(&["", "b", ""]));
        assert_eq!(namespace("a*").unwrap(), ValueMatch::Prefix("a".to_owned()));
        assert_eq!(namespace("*").unwrap(), ValueMatch::Present);
    }

    #[test]
    fn a_service_account_is_of_the_policys_namespace_unless_it_names_one() {
        assert_eq!(service_account("web", "shop").unwrap(), "shop/web");
        assert_eq!(service_account("edge/web", "shop").unwrap(), "edge/web");
        for bad in ["", "*", "a/*", "a/b/c", "/b", "a/"] {
            assert!(service_account(bad, "shop").is_err(), "{bad}");
        }
    }
}

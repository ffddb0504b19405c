//! DNS names as a certificate can have them.

/// Most names of one certificate: what public authorities take.
pub(crate) const MAX_NAMES: usize = 100;

/// Checks a name: lower case letters, digits and hyphens, two labels or more, `*` as the first label only.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let fault = |what: &str| Err(format!("{name:?} can't be in a certificate: {what}"));
    let base = base(name);
    if base.len() > 253 {
        return fault("it is longer than 253 characters");
    }
    let labels: Vec<&str> = base.split('.').collect();
    if labels.len() < 2 {
        return fault("it has no dot");
    }
    for label in &labels {
        let is_ldh = label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if label.is_empty() || label.len() > 63 || !is_ldh || label.starts_with('-') || label.ends_with('-') {
            return fault("labels are 1 to 63 lower case letters, digits and inner hyphens");
        }
    }
    if labels.last().is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit())) {
        return fault("it is an address, not a name");
    }
    if is_wildcard(name) && is_public_suffix(base) {
        return fault("the wildcard covers a public suffix");
    }
    Ok(())
}

/// Checks all names of a certificate and returns them sorted, each once.
pub(crate) fn check_all(names: &[String]) -> Result<Vec<String>, String> {
    let mut sorted = names.to_vec();
    sorted.sort();
    sorted.dedup();
    match sorted.len() {
        0 => return Err("the certificate has no name; give the listener a hostname".to_owned()),
        1..=MAX_NAMES => {}
        len => return Err(format!("the certificate has {len} names, more than {MAX_NAMES}; split it")),
    }
    sorted.iter().try_for_each(|name| check(name))?;
    Ok(sorted)
}

/// Whether it is `*.example.com`.
pub(crate) fn is_wildcard(name: &str) -> bool {
    name.starts_with("*.")
}

/// The name without `*.`: what is proven.
pub(crate) fn base(name: &str) -> &str {
    name.strip_prefix("*.").unwrap_or(name)
}

/// A suffix of the registries; suffixes of companies, such as `github.io`, may have a wildcard of their owner.
fn is_public_suffix(name: &str) -> bool {
    let suffix = psl::suffix(name.as_bytes());
    suffix.is_some_and(|it| it.as_bytes() == name.as_bytes() && it.typ() == Some(psl::Type::Icann))
}

/// The domain under a public suffix, which authorities count by; the name itself where there is none.
pub(crate) fn registered_domain(name: &str) -> &str {
    psl::domain_str(base(name)).unwrap_or(base(name))
}

#[cfg(test)]
mod tests {
    use super::{check, check_all, registered_domain};

    #[test]
    fn names_that_no_authority_would_take_are_refused_with_the_fault() {
        for good in ["a.b", "*.example.com", "xn--bcher-kva.example", "a-1.b2.example"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, fault) in [
            ("localhost", "no dot"),
            ("Shop.example.com", "lower case"),
            ("a..b", "labels"),
            ("-a.b", "labels"),
            ("a.*.b", "labels"),
            ("a_b.example.com", "labels"),
            ("10.0.0.1", "address"),
            ("*.com", "no dot"),
            ("*.co.uk", "public suffix"),
        ] {
            assert!(check(bad).unwrap_err().contains(fault), "{bad}: {:?}", check(bad));
        }
        assert!(check(&format!("{}.example.com", "a.".repeat(130))).is_err());
    }

    #[test]
    fn names_are_sorted_and_each_is_there_once() {
        let names = ["b.example.com", "a.example.com", "b.example.com"].map(str::to_owned);
        assert_eq!(check_all(&names).unwrap(), ["a.example.com", "b.example.com"]);
        assert!(check_all(&[]).unwrap_err().contains("hostname"));
        let many: Vec<String> = (0..101).map(|n| format!("{n}.example.com")).collect();
        assert!(check_all(&many).unwrap_err().contains("101"));
    }

    #[test]
    fn domains_are_counted_below_the_public_suffix() {
        assert_eq!(registered_domain("a.b.example.co.uk"), "example.co.uk");
        assert_eq!(registered_domain("*.example.com"), "example.com");
        assert_eq!(registered_domain("a.example.test"), "example.test");
        assert_eq!(registered_domain("me.github.io"), "me.github.io");
    }
}

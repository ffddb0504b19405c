//! Whether the mesh knows a name, and its addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A name that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The name without the search domain that a resolver appended; `None`: it was asked for as it is.
    pub(super) short_for: Option<&'a str>,
    pub(super) addresses: &'a [IpAddr],
}

/// Looks a name up: lower case, without a dot at its end. A host beats wildcards (`*.example.com`), of which the longest
/// counts. A name that is listed without any address is not known: somebody else may have one.
///
/// A resolver appends search domains before it asks for a name as it is (`ndots:5` in Kubernetes), the namespace's own
/// first. That first one is taken off, as Istio does, so that the first question gets the answer; but not from what is
/// then a single label, which may be a Service.
pub(super) fn find<'a>(
    names: &'a BTreeMap<String, Vec<IpAddr>>,
    search: Option<&str>,
    name: &'a str,
) -> Option<Found<'a>> {
    if let Some(addresses) = exact_or_wildcard(names, name) {
        return Some(Found { short_for: None, addresses });
    }
    let short = name.strip_suffix(search?)?.strip_suffix('.')?;
    let addresses = Some(short).filter(|it| it.contains('.')).and_then(|it| exact_or_wildcard(names, it))?;
    Some(Found { short_for: Some(short), addresses })
}

fn exact_or_wildcard<'a>(names: &'a BTreeMap<String, Vec<IpAddr>>, name: &str) -> Option<&'a [IpAddr]> {
    let known = |name: &str| names.get(name).map(Vec::as_slice).filter(|it| !it.is_empty());
    if let Some(found) = known(name) {
        return Some(found);
    }
    let mut rest = name;
    while let Some((_, parent)) = rest.split_once('.') {
        if let Some(found) = known(&format!("*.{parent}")) {
            return Some(found);
        }
        rest = parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Found, find};
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    const SEARCH: Option<&str> = Some("shop.svc.cluster.local");

    fn names() -> BTreeMap<String, Vec<IpAddr>> {
        let name = |name: &str, address: &str| (name.to_owned(), vec![address.parse().unwrap()]);
        let mut names = BTreeMap::from([
            name("api.example.com", "240.240.0.1"),
            name("*.example.com", "240.240.0.2"),
            name("*.deep.example.com", "240.240.0.3"),
            name("alone", "240.240.0.4"),
        ]);
        names.insert("unknown.example.org".to_owned(), Vec::new());
        names
    }

    fn found(name: &str) -> Option<(String, Option<String>)> {
        let names = names();
        find(&names, SEARCH, name)
            .map(|Found { short_for, addresses }| (addresses[0].to_string(), short_for.map(str::to_owned)))
    }

    #[test]
    fn a_host_beats_the_longest_wildcard_beats_shorter_ones() {
        let plain = |address: &str| Some((address.to_owned(), None));
        assert_eq!(found("api.example.com"), plain("240.240.0.1"));
        assert_eq!(found("www.example.com"), plain("240.240.0.2"));
        assert_eq!(found("a.b.example.com"), plain("240.240.0.2"), "several labels");
        assert_eq!(found("a.deep.example.com"), plain("240.240.0.3"));
        assert_eq!(found("alone"), plain("240.240.0.4"));
        for unknown in ["example.com", "api.example.org", "unknown.example.org", "com", ""] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_first_search_domain_is_taken_off_unless_a_single_label_is_left() {
        let short = |address: &str, name: &str| Some((address.to_owned(), Some(name.to_owned())));
        let (host, wild) = ("api.example.com", "www.example.com");
        assert_eq!(found("api.example.com.shop.svc.cluster.local"), short("240.240.0.1", host));
        assert_eq!(found("www.example.com.shop.svc.cluster.local"), short("240.240.0.2", wild));
        assert_eq!(found("alone.shop.svc.cluster.local"), None);
        assert_eq!(found("api.example.com.svc.cluster.local"), None);
        assert_eq!(found("api.example.comshop.svc.cluster.local"), None);
    }
}

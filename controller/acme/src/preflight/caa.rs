//! CAA records (RFC 8659): who may issue for a domain.

use crate::dns::resolver::Resolver;
use hickory_proto::rr::{RData, RecordType};

/// Whether the records nearest to the name, going up, allow the authority. One that does not say how it is named there
/// is not checked.
pub(super) async fn check(
    resolver: &Resolver,
    identities: &[String],
    host: &str,
    is_wildcard: bool,
) -> Result<(), String> {
    if identities.is_empty() {
        return Ok(());
    }
    let mut rest = host;
    loop {
        let mut properties = Vec::new();
        for (_, data) in resolver.records(rest, RecordType::CAA).await? {
            if let RData::CAA(caa) = data {
                properties
                    .push((caa.tag.to_ascii_lowercase(), String::from_utf8_lossy(&caa.value).into_owned()));
            }
        }
        if !properties.is_empty() {
            return judge(&properties, identities, rest, is_wildcard);
        }
        match rest.split_once('.') {
            Some((_, above)) => rest = above,
            None => return Ok(()),
        }
    }
}

/// `issuewild` counts for wildcards where there is one, else `issue` does (RFC 8659 §4.3).
fn judge(
    properties: &[(String, String)],
    identities: &[String],
    owner: &str,
    is_wildcard: bool,
) -> Result<(), String> {
    let of =
        |tag: &str| properties.iter().filter(|it| it.0 == tag).map(|it| domain(&it.1)).collect::<Vec<_>>();
    let wild = of("issuewild");
    let allowed = if is_wildcard && !wild.is_empty() { wild } else { of("issue") };
    if allowed.is_empty()
        || allowed.iter().any(|it| identities.iter().any(|own| own.eq_ignore_ascii_case(it)))
    {
        return Ok(());
    }
    let named: Vec<&str> = allowed.iter().copied().filter(|it| !it.is_empty()).collect();
    let named = if named.is_empty() { "nobody".to_owned() } else { named.join(", ") };
    let own = identities.join(" or ");
    Err(format!(
        "DNS: the CAA records of {owner} allow {named}, and the authority is {own}; add a record for it"
    ))
}

/// The domain of a value, without its parameters.
fn domain(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn the_authority_must_be_named_where_anybody_is() {
        let own = ["ca.example".to_owned()];
        let judge = |records: &[(&str, &str)], is_wildcard| {
            let records: Vec<_> =
                records.iter().map(|(tag, value)| (tag.to_string(), value.to_string())).collect();
            judge(&records, &own, "example.com", is_wildcard)
        };
        assert!(judge(&[("issue", "CA.example; validationmethods=http-01")], false).is_ok());
        assert!(judge(&[("iodef", "mailto:a@b")], false).is_ok());
        assert!(judge(&[("issue", "other.example"), ("issue", "ca.example")], true).is_ok());
        assert!(judge(&[("issue", "ca.example"), ("issuewild", ";")], false).is_ok());
        assert!(judge(&[("issue", "ca.example"), ("issuewild", ";")], true).unwrap_err().contains("nobody"));
        assert_eq!(
            judge(&[("issue", "other.example")], false).unwrap_err(),
            "DNS: the CAA records of example.com allow other.example, and the authority is ca.example; add a record for it"
        );
    }
}

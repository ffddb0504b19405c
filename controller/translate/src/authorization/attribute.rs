//! `when[].key`: what a condition looks at.

use super::values::{self, Wrong};
use crate::syntax;
use sluice_ir::{Attribute, ValueMatch};

/// Longest path of a claim.
const MOST_PARTS: usize = 16;

/// Reads a key.
pub(super) fn read(key: &str) -> Result<Attribute, Wrong> {
    if let Some(name) = key.strip_prefix("request.headers") {
        let names = brackets(name).filter(|it| it.len() == 1).ok_or_else(|| unknown(key))?;
        let name = names.first().map(|it| it.to_ascii_lowercase()).unwrap_or_default();
        syntax::header_name(&name).map_err(|message| (message, "write it as request.headers[x-user]"))?;
        return Ok(Attribute::Header(name));
    }
    if let Some(path) = key.strip_prefix("request.auth.claims") {
        let parts = brackets(path).filter(|it| !it.is_empty()).ok_or_else(|| unknown(key))?;
        if parts.len() > MOST_PARTS {
            return Err((format!("{key:?} is too deep"), "use at most 16 names"));
        }
        return Ok(Attribute::Claim(parts.into_iter().map(str::to_owned).collect()));
    }
    Ok(match key {
        "source.ip" => Attribute::SourceAddress,
        "remote.ip" => Attribute::RemoteAddress,
        "source.namespace" => Attribute::SourceNamespace,
        "source.principal" => Attribute::SourcePrincipal,
        "source.serviceAccount" => Attribute::SourceServiceAccount,
        "source.trustDomain" => Attribute::SourceTrustDomain,
        "request.auth.principal" => Attribute::RequestPrincipal,
        "request.auth.audiences" => Attribute::Audiences,
        "request.auth.presenter" => Attribute::Presenter,
        "destination.ip" => Attribute::DestinationAddress,
        "destination.port" => Attribute::DestinationPort,
        "connection.sni" => Attribute::ServerName,
        other => return Err(unknown(other)),
    })
}

/// Reads a value of the attribute, for a policy of namespace `home`.
pub(super) fn value(attribute: &Attribute, value: &str, home: &str) -> Result<ValueMatch, Wrong> {
    match attribute {
        Attribute::SourceAddress | Attribute::RemoteAddress | Attribute::DestinationAddress => {
            values::block_value(value)
        }
        Attribute::SourceNamespace => values::namespace(value),
        Attribute::SourcePrincipal => values::principal(value),
        Attribute::SourceServiceAccount => values::service_account(value, home).map(ValueMatch::Exact),
        Attribute::DestinationPort => values::port_value(value),
        Attribute::Header(_)
        | Attribute::SourceTrustDomain
        | Attribute::RequestPrincipal
        | Attribute::Audiences
        | Attribute::Presenter
        | Attribute::Claim(_)
        | Attribute::ServerName => values::text(value),
    }
}

/// The parts of `[a][b]`; `None`: it is no such list.
fn brackets(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.strip_prefix('[')?.split_once(']')?;
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        rest = after;
    }
    Some(parts)
}

fn unknown(key: &str) -> Wrong {
    (
        format!("{key:?} is not known"),
        "use a key of Istio's list of conditions, such as request.headers[x-user]",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::read;
    use sluice_ir::Attribute;

    #[test]
    fn keys_name_an_attribute_or_nothing() {
        assert_eq!(read("request.headers[X-User]").unwrap(), Attribute::Header("x-user".to_owned()));
        let claim = Attribute::Claim(vec!["a".to_owned(), "b.c".to_owned()]);
        assert_eq!(read("request.auth.claims[a][b.c]").unwrap(), claim);
        assert_eq!(read("source.ip").unwrap(), Attribute::SourceAddress);
        for bad in [
            "",
            "source",
            "request.headers",
            "request.headers[]",
            "request.headers[a][b]",
            "request.headers[a b]",
            "request.auth.claims",
            "request.auth.claims[a",
            "request.auth.claims[a]x",
            "experimental.envoy.filters.network.mysql_proxy[db]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

//! Where an issuer says that its keys are (OpenID Connect Discovery 1.0 §4).

use super::fetch::{Fetch, FetchError, address};
use crate::policy::Json;
use std::time::Duration;

/// The address of the issuer's key set.
pub(super) async fn keys_of(fetch: &Fetch, issuer: &str, time: Duration) -> Result<String, FetchError> {
    let document = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let text = fetch.get(&document, time).await?;
    let uri = named(issuer, &text)?;
    let (from, to) = (address(issuer)?, address(&uri)?);
    if from.is_tls && !to.is_tls {
        return Err(FetchError::Discovery("it leads from https to http"));
    }
    // What lets the issuer be inside does not let it lead elsewhere inside.
    if fetch.reach != sluice_ir::KeyReach::Public && from.host != to.host {
        return Err(FetchError::Discovery("it leads from a host inside to another one: set jwksUri"));
    }
    Ok(uri)
}

fn named(issuer: &str, text: &[u8]) -> Result<String, FetchError> {
    let document = Json::parse(text).ok_or(FetchError::Discovery("it is no JSON"))?;
    let of = |name: &str| document.get(name).and_then(Json::text);
    // §4.3: one who could name another issuer could have its tokens believed.
    if of("issuer") != Some(issuer) {
        return Err(FetchError::Discovery("it is of another issuer"));
    }
    of("jwks_uri").map(str::to_owned).ok_or(FetchError::Discovery("it names no jwks_uri"))
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn a_document_must_be_of_the_issuer_itself() {
        let text = br#"{"issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#;
        assert_eq!(named("https://id.example", text).ok().as_deref(), Some("https://id.example/keys"));
        for (issuer, text) in [
            ("https://id.example/", &text[..]),
            ("https://other.example", text),
            ("https://id.example", br#"{"issuer":"https://id.example"}"#),
            ("https://id.example", br#"{"issuer":"https://id.example","jwks_uri":1}"#),
            ("https://id.example", b"<html>"),
        ] {
            assert!(named(issuer, text).is_err(), "{issuer}");
        }
    }
}

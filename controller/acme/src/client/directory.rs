//! What an authority offers (RFC 8555 §7.1.1).

use super::fetch::Fetcher;
use crate::Issuer;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The directory of an authority: what of it we use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    pub(crate) new_nonce: String,
    pub(crate) new_account: String,
    /// RFC 9773.
    pub(crate) renewal_info: Option<String>,
    #[serde(default)]
    pub(crate) meta: Meta,
}

/// What an authority says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    external_account_required: bool,
    /// What CAA records may name to allow it.
    pub(crate) caa_identities: Vec<String>,
    profiles: BTreeMap<String, String>,
}

impl Directory {
    /// Reads the directory of an issuer.
    pub(crate) async fn read(fetcher: &Fetcher, issuer: &Issuer) -> Result<Self, String> {
        let url = &issuer.directory;
        if !url.starts_with("https://") {
            return Err(format!("the directory {url:?} must be an https URL"));
        }
        let answer =
            fetcher.get(url).await.map_err(|error| format!("the directory {url} can't be read: {error}"))?;
        if !answer.status().is_success() {
            return Err(format!("the directory {url} answers {}", answer.status()));
        }
        let directory: Self = serde_json::from_slice(answer.body())
            .map_err(|error| format!("{url} is no ACME directory ({error}); check the URL"))?;
        directory.check(issuer)?;
        Ok(directory)
    }

    /// Whether the authority offers what the issuer asks for.
    fn check(&self, issuer: &Issuer) -> Result<(), String> {
        if self.meta.external_account_required && issuer.account_binding.is_none() {
            return Err("the authority wants an external account binding; give the issuer its key".to_owned());
        }
        match &issuer.profile {
            Some(profile) if !self.meta.profiles.contains_key(profile) => {
                let offered: Vec<&str> = self.meta.profiles.keys().map(String::as_str).collect();
                let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
                Err(format!("the authority has no profile {profile:?} (profiles: {offered})"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;
    use crate::{AccountBinding, Issuer, IssuerName, Secret};

    fn directory(meta: &str) -> Directory {
        let text = format!(r#"{{"newNonce":"n","newAccount":"a","newOrder":"o","meta":{meta}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_the_authority_does_not_offer_is_said_before_anything_is_asked() {
        let mut issuer = Issuer::new(IssuerName::new("a/ca"), "https://ca");
        let bound = directory(r#"{"externalAccountRequired":true}"#);
        assert!(bound.check(&issuer).unwrap_err().contains("external account binding"));
        issuer.account_binding = Some(AccountBinding { key_id: "kid".to_owned(), key: Secret::new("key") });
        assert_eq!(bound.check(&issuer), Ok(()));
        issuer.profile = Some("short".to_owned());
        let error = directory(r#"{"profiles":{"classic":"c","shortlived":"s"}}"#).check(&issuer).unwrap_err();
        assert_eq!(error, "the authority has no profile \"short\" (profiles: classic, shortlived)");
        assert!(directory("{}").check(&issuer).unwrap_err().contains("none"));
    }
}

//! The account of an issuer: its key is in the store before the authority sees it, so that a death in between makes no
//! second account.

use super::directory::Directory;
use super::fetch::Fetcher;
use super::jws::{As, Signer};
use super::problem;
use super::wire::Wire;
use crate::trouble::{Retry, Trouble};
use crate::{Data, Issuer, Item, Reason, Secret, Store, StoreError, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use instant_acme::{Account, Error};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// File of the record.
const FILE: &str = "account.json";

/// What the store keeps of an account.
#[derive(Clone, Deserialize, Serialize)]
struct Kept {
    directory: String,
    /// PKCS#8, base64.
    key: String,
    /// Key identifier of the binding.
    binding: Option<String>,
    contacts: Vec<String>,
    /// URL of the account, once it is registered.
    id: Option<String>,
}

/// An account that the authority knows.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) key: Secret,
    pub(crate) directory: Arc<Directory>,
    pub(crate) fetcher: Fetcher,
    directory_url: String,
}

impl Registered {
    /// The account for one order: requests of different orders share connections, not nonces.
    pub(crate) async fn open(&self) -> Result<(Account, Wire), Error> {
        let wire = Wire::new(self.fetcher.clone());
        let key = PrivatePkcs8KeyDer::from(self.key.expose());
        let builder = Account::builder_with_http(Box::new(wire.clone()));
        let account = builder.from_parts(self.id.clone(), key, self.directory_url.clone()).await?;
        Ok((account, wire))
    }
}

/// Reads the issuer's account from the store, or registers one. `anew` asks the authority also when the store says
/// that there is an account.
pub(crate) async fn register(
    store: &dyn Store,
    issuer: &Issuer,
    anew: bool,
    now: SystemTime,
) -> Result<Registered, Trouble> {
    let failed = |text: String| Trouble::new(Reason::Issuer, Retry::Backoff, text);
    let fetcher = Fetcher::new(issuer.authorities.as_deref()).map_err(failed)?;
    let directory = Arc::new(Directory::read(&fetcher, issuer).await.map_err(failed)?);
    let (mut kept, mut version) = key(store, issuer).await?;
    if anew {
        kept.id = None;
    }
    let contacts = contacts(issuer);
    let key =
        STANDARD.decode(&kept.key).map_err(|_| failed("the kept account key can't be read".to_owned()))?;
    let key = Secret::new(key);
    if kept.id.is_none() || kept.contacts != contacts {
        let told = tell(&fetcher, &directory, &key, (issuer, &kept, &contacts)).await;
        kept.id = Some(told.map_err(|error| explained(&error, now))?);
        kept.contacts = contacts;
        version = write(store, issuer, &kept, Some(&version)).await?;
    }
    let _ = version;
    let id = kept.id.unwrap_or_default();
    Ok(Registered { id, key, directory, fetcher, directory_url: issuer.directory.clone() })
}

/// An error of registration is the issuer's, whatever its type.
fn explained(error: &Error, now: SystemTime) -> Trouble {
    let trouble = problem::trouble(error, None, now);
    Trouble { reason: Reason::Issuer, retry: Retry::Backoff, ..trouble }
}

/// The key in the store; a new one when there is none, or the one there is for another authority.
async fn key(store: &dyn Store, issuer: &Issuer) -> Result<(Kept, Version), Trouble> {
    let entry = store.read(&Item::Account(issuer.name.clone())).await?;
    let binding = issuer.account_binding.as_ref().map(|it| it.key_id.clone());
    let mut seen = None;
    if let Some(entry) = entry {
        let kept = entry.data.get(FILE).and_then(|text| serde_json::from_str::<Kept>(text).ok());
        let Some(kept) = kept else {
            let text = "the kept account can't be read; delete its record to register anew";
            return Err(Trouble::new(Reason::Secret, Retry::Backoff, text));
        };
        if kept.directory == issuer.directory && kept.binding == binding {
            return Ok((kept, entry.version));
        }
        seen = Some(entry.version);
    }
    let key =
        Signer::generate().map_err(|error| Trouble::new(Reason::Issuer, Retry::Soon, error.to_string()))?;
    let key = STANDARD.encode(key.expose());
    let kept = Kept { directory: issuer.directory.clone(), key, binding, contacts: Vec::new(), id: None };
    let version = write(store, issuer, &kept, seen.as_ref()).await?;
    Ok((kept, version))
}

async fn write(
    store: &dyn Store,
    issuer: &Issuer,
    kept: &Kept,
    expected: Option<&Version>,
) -> Result<Version, Trouble> {
    let text = serde_json::to_string(kept).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    Ok(store.write(&Item::Account(issuer.name.clone()), &Data::one(FILE, text), expected).await?)
}

/// Registers the key, or tells the account's new contacts. A key that the authority knows already gives its account
/// (RFC 8555 §7.3).
async fn tell(
    fetcher: &Fetcher,
    directory: &Directory,
    key: &Secret,
    (issuer, kept, contacts): (&Issuer, &Kept, &[String]),
) -> Result<String, Error> {
    let signer = Signer::new(key)?;
    if let Some(id) = &kept.id {
        let target = (id.as_str(), As::Account(id));
        signer.post(fetcher, directory, target, Some(&json!({ "contact": contacts }))).await?;
        return Ok(id.clone());
    }
    let mut payload: Value = json!({ "termsOfServiceAgreed": true, "contact": contacts });
    if let Some(binding) = &issuer.account_binding {
        payload["externalAccountBinding"] = signer.binding(binding, directory)?;
    }
    let target = (directory.new_account.as_str(), As::Key);
    let answer = signer.post(fetcher, directory, target, Some(&payload)).await?;
    let id = answer.headers().get(http::header::LOCATION).and_then(|it| it.to_str().ok());
    id.map(str::to_owned).ok_or(Error::Str("the URL of the account"))
}

fn contacts(issuer: &Issuer) -> Vec<String> {
    let with_scheme = |it: &String| if it.contains(':') { it.clone() } else { format!("mailto:{it}") };
    issuer.contacts.iter().map(with_scheme).collect()
}

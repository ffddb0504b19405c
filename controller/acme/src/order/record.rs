//! The record of an order: enough for another engine to go on with it.

use crate::order::keys;
use crate::secret::KeyText;
use crate::trouble::Trouble;
use crate::{
    CertificateKey, ChallengeId, Data, Issuer, Item, Kind, Reason, Scope, Store, StoreError, Version,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// File of the record.
const FILE: &str = "order.json";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Record {
    /// What the order is for, as one word: an order for something else is given up.
    pub(crate) purpose: String,
    /// How it was to be proven, as one word: a failure is forgotten when this changes.
    pub(crate) manner: String,
    pub(crate) stage: Stage,
    /// The certificate's key as PEM, from the reservation on: the order may be finalized by another engine than the one
    /// that stores the certificate.
    pub(crate) key: Option<KeyText>,
    /// What was set up for challenges, written before it is: what must be taken down.
    pub(crate) placed: Vec<Placed>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// The last one.
    pub(crate) failure: Option<Failure>,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Stage {
    /// No order.
    #[default]
    Idle,
    /// An engine is about to make one, and may have done so.
    Reserved {
        /// Which.
        owner: String,
    },
    /// There is one.
    Open {
        /// Its URL.
        url: String,
    },
}

/// Something set up for a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Placed {
    /// At the data plane.
    Http { scope: String, host: String, token: String },
    /// At the data plane.
    TlsAlpn { scope: String, host: String },
    /// In a zone, for this name by the solver that fits it.
    Txt { name: String, fqdn: String, value: String },
}

/// Why the last attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Whether it only waits for something, rather than having failed.
    pub(crate) is_soft: bool,
    /// Milliseconds since 1970: not before.
    pub(crate) retry_at: u64,
}

/// A record with where it is kept.
pub(crate) struct Kept<'a> {
    store: &'a dyn Store,
    item: Item,
    version: Option<Version>,
    pub(crate) record: Record,
}

impl<'a> Kept<'a> {
    /// Reads it; an absent one is empty, and so is one that can't be read (the order it was about ends by itself).
    pub(crate) async fn load(store: &'a dyn Store, key: &CertificateKey) -> Result<Self, StoreError> {
        let item = Item::Order(key.clone());
        let entry = store.read(&item).await?;
        let version = entry.as_ref().map(|it| it.version.clone());
        let text = entry.as_ref().and_then(|it| it.data.get(FILE)).unwrap_or_default();
        let record = serde_json::from_str(text).unwrap_or_else(|_| {
            if version.is_some() {
                tracing::warn!(certificate = %key, "the record of the order can't be read; it begins anew");
            }
            Record::default()
        });
        Ok(Self { store, item, version, record })
    }

    /// Writes it, if nobody else did meanwhile.
    pub(crate) async fn save(&mut self) -> Result<(), Trouble> {
        let text = serde_json::to_string(&self.record)
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let written = self.store.write(&self.item, &Data::one(FILE, text), self.version.as_ref()).await?;
        self.version = Some(written);
        Ok(())
    }

    /// Deletes it, if nobody else wrote meanwhile.
    pub(crate) async fn delete(&mut self) -> Result<(), Trouble> {
        if let Some(version) = self.version.take() {
            self.store.delete(&self.item, &version).await?;
        }
        self.record = Record::default();
        Ok(())
    }

    /// Whether the record in the store is no more the one read here.
    pub(crate) async fn is_changed(&self) -> Result<bool, StoreError> {
        let entry = self.store.read(&self.item).await?;
        Ok(entry.map(|it| it.version) != self.version)
    }

    /// Forgets the order, keeps the failures.
    pub(crate) fn drop_order(&mut self) {
        self.record.stage = Stage::Idle;
        self.record.key = None;
        self.record.placed.clear();
    }
}

/// What an order is for.
pub(crate) fn purpose(issuer: &Issuer, names: &[String]) -> String {
    let profile = issuer.profile.as_deref().unwrap_or_default();
    let head = [issuer.name.as_str(), &issuer.directory, profile, keys::word(issuer.key_type)];
    word(head.into_iter().chain(names.iter().map(String::as_str)))
}

/// How it is proven: everything of the issuer. Its secrets show in `Debug` as present only, so a changed key alone
/// leaves a failure in force.
pub(crate) fn manner(issuer: &Issuer, scope: &Scope) -> String {
    word([format!("{issuer:?}").as_str(), scope.as_str()])
}

fn word<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

impl Placed {
    /// The scope and id of what the data plane answers.
    pub(crate) fn challenge(&self) -> Option<(Scope, ChallengeId)> {
        match self {
            Self::Http { scope, host, token } => {
                let id = ChallengeId { host: host.clone(), kind: Kind::Http(token.clone()) };
                Some((Scope::new(scope), id))
            }
            Self::TlsAlpn { scope, host } => {
                Some((Scope::new(scope), ChallengeId { host: host.clone(), kind: Kind::TlsAlpn }))
            }
            Self::Txt { .. } => None,
        }
    }
}

/// The reason that a record's word stands for.
pub(crate) fn reason(word: &str) -> Reason {
    use Reason::{Authority, Challenge, Dns, Issuer, Name, Quota, Secret};
    let all = [Issuer, Name, Dns, Quota, Secret, Challenge, Authority];
    all.into_iter().find(|it| it.as_str() == word).unwrap_or(Authority)
}

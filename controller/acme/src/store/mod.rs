//! What must outlive the process: small records, written by compare and swap.

mod folder;

pub use folder::FolderStore;

use crate::{CertificateKey, IssuerName};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;

/// Names one record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Item {
    /// Account of an issuer. Secret.
    Account(IssuerName),
    /// Orders of an issuer that were counted against its budgets. Not secret.
    Budget(IssuerName),
    /// The order under way for a certificate, or how the last one failed. Secret.
    Order(CertificateKey),
    /// A certificate. Files `tls.crt` (PEM chain) and `tls.key` (PEM, PKCS#8), as in a Secret of type
    /// `kubernetes.io/tls`, and `acme.json` (names, issuer, renewal; not secret).
    Certificate(CertificateKey),
}

/// Content of a record: text by file name. `Debug` shows the file names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data(pub BTreeMap<String, String>);

impl Data {
    /// With one file.
    pub fn one(name: &str, text: impl Into<String>) -> Self {
        Self(BTreeMap::from([(name.to_owned(), text.into())]))
    }

    /// A file's text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A record's version, opaque: a `resourceVersion` in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// A record with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// To build the next write on.
    pub version: Version,
    /// Content.
    pub data: Data,
}

/// Why the store did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The record is not in the version that the write builds on: another engine was faster.
    #[error("the record was changed by another engine")]
    Conflict,
    /// The record may not be written, such as a Secret that somebody else made. Goes to the status.
    #[error("{0}")]
    Forbidden(String),
    /// The store does not answer or holds what can't be read. Goes to the status, tried again.
    #[error("{0}")]
    Unavailable(String),
}

/// Keeps records. Each write is atomic and durable when it returns; a cancelled one happened or did not.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads a record.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn read(&self, item: &Item) -> Result<Option<Entry>, StoreError>;

    /// Writes a record that must be in version `expected`, or must not exist yet when that is none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is in another version.
    async fn write(
        &self,
        item: &Item,
        data: &Data,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError>;

    /// Deletes a record that must be in version `expected`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is in another version or gone.
    async fn delete(&self, item: &Item, expected: &Version) -> Result<(), StoreError>;
}

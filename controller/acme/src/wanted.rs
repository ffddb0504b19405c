//! What is wanted: certificates, each with its names, its issuer and who answers its challenges.

use crate::Issuer;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// From text; its form is the caller's affair.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// `NAMESPACE/NAME` of an issuer.
    IssuerName
}
name! {
    /// `NAMESPACE/NAME` of where a certificate is kept: in a cluster a Secret, standalone a file.
    CertificateKey
}
name! {
    /// Who answers challenges, in words of the caller (a Gateway); handed to [`crate::Challenges`] as it came.
    Scope
}

/// One wanted certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is kept. One certificate a key.
    pub key: CertificateKey,
    /// Who issues it; must be among the issuers of the set, else the certificate waits for it.
    pub issuer: IssuerName,
    /// DNS names, lower case ASCII (A-labels), a wildcard as `*.example.com`. Their order does not matter.
    pub names: Vec<String>,
    /// Who must answer its challenges.
    pub scope: Scope,
}

/// Everything wanted at one moment. What is absent is left alone: its certificate stays in the store, its order ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WantedSet {
    /// Issuers by name, also those without a certificate: their account is registered, so that their state is known.
    pub issuers: Vec<Arc<Issuer>>,
    /// Certificates; of two with one key the first counts.
    pub certificates: Vec<Wanted>,
    /// Certificates of handshakes that are in the store already: renewed while they are allowed, deleted when they have
    /// ended and are not. One that was here and is not any more is given up. Those that a handshake asks for now need
    /// not be here.
    pub held: Vec<Wanted>,
    /// Which of the certificates are not in the store, as far as is known: one that is new here is looked at, since
    /// somebody may have taken it out.
    pub missing: HashSet<CertificateKey>,
}

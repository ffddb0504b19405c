//! A reference to a certificate or to authorities, as written.

/// An entry of `certificateRefs` or `caCertificateRefs`, and `clientCertificateRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectReference {
    /// Empty for core kinds.
    pub(crate) group: String,
    pub(crate) kind: String,
    /// `None`: that of the object which refers.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

//! Who is at the other end of a stream.

use super::limits;
use async_trait::async_trait;
use std::time::SystemTime;
use tokio::time::timeout;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The audience that tokens of our own data planes and replicas are made for.
pub const AUDIENCE: &str = "sluice-controller";
/// The audience that tokens of workloads are made for, as in Istio.
pub const MESH_AUDIENCE: &str = "istio-ca";

/// Longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Tells whose a token is.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Whose token it is. What can't be found out is refused.
    async fn authenticate(&self, token: &str) -> Result<ProxyIdentity, Denied>;
}

/// A service account, and the pod that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyIdentity {
    /// Namespace of the service account.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
    /// The pod that the token is bound to.
    pub pod: Option<String>,
    /// When the token ends, if it says so: a stream ends then too.
    pub expires: Option<SystemTime>,
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token is not valid, not for this audience, or not a service account's.
    #[error("the token is not valid: {0}")]
    Invalid(String),
    /// Whether it is valid can't be found out now.
    #[error("the token can't be checked now: {0}")]
    Unavailable(String),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match &denied {
            Denied::Invalid(_) => Self::unauthenticated(denied.to_string()),
            Denied::Unavailable(_) => Self::unavailable(denied.to_string()),
        }
    }
}

/// Whose call it is, by its bearer token.
pub(super) async fn caller(
    authenticator: &dyn Authenticator,
    metadata: &MetadataMap,
) -> Result<ProxyIdentity, Status> {
    owner(authenticator, &bearer(metadata)?).await
}

/// Whose token it is, found out in bounded time.
pub(crate) async fn owner(authenticator: &dyn Authenticator, token: &str) -> Result<ProxyIdentity, Status> {
    let known = timeout(limits::AUTHENTICATION_TIME, authenticator.authenticate(token)).await;
    known.map_err(|_| Status::unavailable("the token could not be checked in time"))?.map_err(Status::from)
}

/// The bearer token of a call.
pub(crate) fn bearer(metadata: &MetadataMap) -> Result<String, Status> {
    let field = metadata.get("authorization").and_then(|value| value.to_str().ok());
    let token = field.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    match token {
        Some(token) if !token.is_empty() && token.len() <= LONGEST_TOKEN => Ok(token.to_owned()),
        Some(_) | None => Err(Status::unauthenticated("a bearer token is needed")),
    }
}

//! Challenges on their way to the data planes: each is a Secret of the controller's namespace, which every replica
//! watches and hands to its data planes. It counts when all of them have acknowledged it.

use super::convert;
use super::names::{CHALLENGE, OF, RECORD_LABEL, SECRET_TYPE, hashed};
use crate::serve::Distributor;
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use sluice_acme::{Challenge, ChallengeError, ChallengeId, Challenges, Scope};
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The key of the Secret that has the challenge in the wire form.
pub(super) const KEY: &str = "challenge";
/// How long data planes get to acknowledge.
const ACKNOWLEDGE_TIME: Duration = Duration::from_secs(30);
/// Longest time of one request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Presenter {
    secrets: Api<Secret>,
    distributor: Distributor,
}

impl Presenter {
    pub(super) fn new(client: Client, namespace: &str, distributor: Distributor) -> Self {
        Self { secrets: Api::namespaced(client, namespace), distributor }
    }

    /// Puts the Secret there, whatever was there before.
    async fn put(&self, challenge: &ir::Challenge) -> Result<(), ChallengeError> {
        let new = object(challenge)?;
        let name = hashed(CHALLENGE, challenge.key.as_str());
        let put = async {
            match self.secrets.create(&PostParams::default(), &new).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    let mut there = self.secrets.get(&name).await?;
                    there.data = new.data;
                    there.metadata.managed_fields = None;
                    self.secrets.replace(&name, &PostParams::default(), &there).await.map(drop)
                }
                other => other.map(drop),
            }
        };
        match timeout(REQUEST_TIME, put).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(ChallengeError(format!("the challenge can't be kept in Secret {name}: {error}")))
            }
            Err(_) => Err(ChallengeError("the API server does not answer".to_owned())),
        }
    }

    async fn acknowledged(&self, all: &[Arc<ir::Challenge>]) -> Result<(), ChallengeError> {
        let mut changes = self.distributor.acknowledgements();
        let mut missing = String::new();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                match all.iter().find_map(|it| self.distributor.answers(it).err()) {
                    None => return,
                    Some(why) => missing = why,
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let ended = timeout(ACKNOWLEDGE_TIME, waiting).await;
        match ended {
            Ok(()) => Ok(()),
            Err(_) => Err(ChallengeError(missing)),
        }
    }
}

#[async_trait]
impl Challenges for Presenter {
    async fn present(&self, scope: &Scope, challenge: &Challenge) -> Result<(), ChallengeError> {
        let all: Vec<_> = convert::challenges(scope, challenge).into_iter().map(Arc::new).collect();
        if all.is_empty() {
            return Err(ChallengeError("no Gateway answers for the name".to_owned()));
        }
        for challenge in &all {
            self.put(challenge).await?;
        }
        self.acknowledged(&all).await
    }

    async fn withdraw(&self, scope: &Scope, challenge: &ChallengeId) {
        let parameters = DeleteParams::default();
        for key in convert::withdrawn(scope, challenge) {
            let name = hashed(CHALLENGE, key.as_str());
            let delete = self.secrets.delete(&name, &parameters);
            match timeout(REQUEST_TIME, delete).await {
                Ok(Ok(_)) => {}
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
                Ok(Err(error)) => tracing::warn!(challenge = %key, %error, "a challenge can't be taken away"),
                Err(_) => tracing::warn!(challenge = %key, "a challenge can't be taken away in time"),
            }
        }
    }
}

fn object(challenge: &ir::Challenge) -> Result<Secret, ChallengeError> {
    let resource = ir::Resource::Challenge(Arc::new(challenge.clone()));
    let bytes = ir::wire::encode(&resource).map_err(|error| ChallengeError(error.to_string()))?;
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(hashed(CHALLENGE, challenge.key.as_str())),
            labels: Some(BTreeMap::from([
                label("app.kubernetes.io/managed-by", "sluice-controller"),
                label(RECORD_LABEL, CHALLENGE),
            ])),
            annotations: Some(BTreeMap::from([label(OF, challenge.key.as_str())])),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))])),
        ..Secret::default()
    })
}

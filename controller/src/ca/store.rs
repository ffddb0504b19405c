//! A Secret that all replicas of the controller keep together: who writes at the same time wins, and is read again.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use std::collections::BTreeMap;

/// How often a replica tries when others write at the same time.
const TRIES: usize = 10;

/// What a Secret holds.
pub(crate) type Data = BTreeMap<String, ByteString>;

/// What becomes of a Secret.
pub(crate) enum Step<T> {
    /// It is as it must be, and means this.
    Settled(T),
    /// It must hold this instead; what is written is looked at again.
    Write(Data),
}

/// One Secret.
pub(crate) struct Store {
    secrets: Api<Secret>,
    namespace: String,
    name: &'static str,
}

impl Store {
    pub(crate) fn new(client: kube::Client, namespace: &str, name: &'static str) -> Self {
        Self { secrets: Api::namespaced(client, namespace), namespace: namespace.to_owned(), name }
    }

    /// `Secret NAMESPACE/NAME`
    pub(crate) fn named(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name)
    }

    /// Brings the Secret to where `next` says that it must be; `None`: there is none yet.
    ///
    /// # Errors
    /// What `next` refuses, which is not replaced unasked, and when the API server does not answer.
    pub(crate) async fn settle<T>(&self, next: impl Fn(Option<&Data>) -> Result<Step<T>>) -> Result<T> {
        for _ in 0..TRIES {
            let found = self.secrets.get_opt(self.name).await.with_context(|| self.named())?;
            let (version, data) = match found {
                Some(secret) => (secret.metadata.resource_version, Some(secret.data.unwrap_or_default())),
                None => (None, None),
            };
            let data = match next(data.as_ref()).with_context(|| self.named())? {
                Step::Settled(value) => return Ok(value),
                Step::Write(data) => data,
            };
            let parameters = PostParams::default();
            let written = match &version {
                None => self.secrets.create(&parameters, &self.object(data, None)).await,
                Some(_) => self.secrets.replace(self.name, &parameters, &self.object(data, version)).await,
            };
            match written {
                Ok(_) => {
                    tracing::info!(secret = self.named(), "the certificate authority is made or renewed")
                }
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {}
                Err(error) => return Err(error).with_context(|| self.named()),
            }
        }
        bail!("{} changes all the time", self.named())
    }

    fn object(&self, data: Data, version: Option<String>) -> Secret {
        let label = ("app.kubernetes.io/managed-by".to_owned(), "sluice-controller".to_owned());
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([label])),
                resource_version: version,
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }
}

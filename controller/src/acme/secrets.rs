//! Records of the engine as Secrets: accounts, budgets and orders in the controller's namespace, certificates where
//! listeners name them. Versions are `resourceVersion`s, so that of two engines one is told that the other was faster.

use super::certificate::certificate;
use super::names::{OF, RECORD_LABEL, SECRET_TYPE, hashed, record};
use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use sluice_acme::{Data, Entry, Item, Store, StoreError, Version};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time of one request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone)]
pub(super) struct SecretStore {
    client: Client,
    /// The controller's.
    namespace: String,
}

impl SecretStore {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// Where a record is, and its name there.
    fn place(&self, item: &Item) -> (Api<Secret>, String, String) {
        let (record, of) = record(item);
        let (namespace, name) = match item {
            Item::Certificate(_) => {
                let (namespace, name) = of.split_once('/').unwrap_or(("", of));
                (namespace.to_owned(), name.to_owned())
            }
            Item::Account(_) | Item::Budget(_) | Item::Order(_) => {
                (self.namespace.clone(), hashed(record, of))
            }
        };
        let shown = format!("Secret {namespace}/{name}");
        (Api::namespaced(self.client.clone(), &namespace), name, shown)
    }
}

#[async_trait]
impl Store for SecretStore {
    async fn read(&self, item: &Item) -> Result<Option<Entry>, StoreError> {
        let (api, name, shown) = self.place(item);
        let found = bounded(&shown, api.get_opt(&name)).await?;
        Ok(found.map(|secret| Entry { version: version(&secret.metadata), data: data(secret.data) }))
    }

    async fn write(
        &self,
        item: &Item,
        data: &Data,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let (api, name, shown) = self.place(item);
        let (parameters, new) = (PostParams::default(), object(item, &name, data));
        let Some(expected) = expected else {
            let made = bounded(&shown, api.create(&parameters, &new)).await?;
            return Ok(version(&made.metadata));
        };
        let Some(mut secret) = bounded(&shown, api.get_opt(&name)).await? else {
            return Err(StoreError::Conflict);
        };
        if version(&secret.metadata) != *expected {
            return Err(StoreError::Conflict);
        }
        // Labels and annotations of others stay.
        secret.metadata.labels.get_or_insert_default().extend(new.metadata.labels.unwrap_or_default());
        let annotations = new.metadata.annotations.unwrap_or_default();
        secret.metadata.annotations.get_or_insert_default().extend(annotations);
        secret.metadata.managed_fields = None;
        secret.data = new.data;
        let written = bounded(&shown, api.replace(&name, &parameters, &secret)).await?;
        Ok(version(&written.metadata))
    }

    async fn delete(&self, item: &Item, expected: &Version) -> Result<(), StoreError> {
        let (api, name, shown) = self.place(item);
        let preconditions = Preconditions { resource_version: Some(expected.0.clone()), uid: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        bounded(&shown, api.delete(&name, &parameters)).await.map(drop)
    }
}

async fn bounded<T>(
    shown: &str,
    request: impl Future<Output = kube::Result<T>> + Send,
) -> Result<T, StoreError> {
    match timeout(REQUEST_TIME, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(failure(shown, &error)),
        Err(_) => Err(StoreError::Unavailable(format!("{shown}: the API server does not answer"))),
    }
}

fn failure(shown: &str, error: &kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => StoreError::Conflict,
        kube::Error::Api(status) if matches!(status.code, 403 | 422) => {
            StoreError::Forbidden(format!("{shown}: {}", status.message))
        }
        error => StoreError::Unavailable(format!("{shown}: {error}")),
    }
}

fn version(metadata: &ObjectMeta) -> Version {
    Version(metadata.resource_version.clone().unwrap_or_default())
}

fn data(data: Option<BTreeMap<String, ByteString>>) -> Data {
    let text = |(name, bytes): (String, ByteString)| Some((name, String::from_utf8(bytes.0).ok()?));
    Data(data.unwrap_or_default().into_iter().filter_map(text).collect())
}

fn object(item: &Item, name: &str, data: &Data) -> Secret {
    let managed = ("app.kubernetes.io/managed-by".to_owned(), "sluice-controller".to_owned());
    if let Item::Certificate(key) = item {
        let mut secret = certificate(key, data);
        secret.metadata.namespace = None;
        secret.metadata.labels.get_or_insert_default().extend([managed]);
        return secret;
    }
    let (record, of) = record(item);
    let bytes = |(name, text): (&String, &String)| (name.clone(), ByteString(text.clone().into_bytes()));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([managed, (RECORD_LABEL.to_owned(), record.to_owned())])),
            annotations: Some(BTreeMap::from([(OF.to_owned(), of.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data.0.iter().map(bytes).collect()),
        ..Secret::default()
    }
}

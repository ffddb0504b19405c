//! Requests to the API server: what steps come to.

use super::kinds::OwnedKind;
use super::live::{Key, Live};
use super::objects::MANAGER;
use super::steps::{Applied, Step};
use crate::names;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, Error};
use serde_json::{Value, json};
use sluice_crds::{Gateway, ObjectRef};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Owns the replicas of a Deployment while the autoscaler takes over.
const REPLICAS_MANAGER: &str = "sluice-controller-replicas";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// `Deployment web-sluice: ...`.
    pub(super) message: String,
    /// The server has judged: asking again the same way changes nothing until somebody acts.
    pub(super) is_lasting: bool,
    /// Whether a Gateway serves without the object.
    pub(super) is_optional: bool,
    /// A Service whose values the server does not take.
    pub(super) is_refused_service: bool,
}

/// What came of one step.
#[derive(Debug)]
pub(super) enum Done {
    /// The object as the server has it now.
    Applied(Box<Live>, Applied),
    /// It is gone.
    Deleted(Key),
    /// It stays as it was.
    Failed(Failure),
}

/// The objects of a kind in a namespace.
fn api(client: &Client, kind: OwnedKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}

/// Does the steps one after the other. One that fails keeps the others from nothing but its own.
pub(super) async fn carry_out(client: &Client, steps: Vec<Step>) -> Vec<Done> {
    let mut all = Vec::with_capacity(steps.len());
    for step in steps {
        all.push(match step {
            Step::Apply { desired, kept_replicas } => {
                let api = api(client, desired.kind, &desired.namespace);
                if let Some(replicas) = kept_replicas {
                    let _ = in_time(keep_replicas(&api, &desired.name, replicas)).await;
                }
                let how = PatchParams::apply(MANAGER).force();
                match in_time(api.patch(&desired.name, &how, &Patch::Apply(&desired.value))).await {
                    Ok(answer) => {
                        tracing::info!(
                            kind = desired.kind.name(),
                            namespace = desired.namespace,
                            name = desired.name,
                            "applied"
                        );
                        let live = Live::read(desired.kind, answer);
                        let applied = Applied::new(&desired, &live);
                        Done::Applied(Box::new(live), applied)
                    }
                    Err(error) => Done::Failed(failure(desired.kind, &desired.name, &error)),
                }
            }
            Step::Delete { key, uid } => delete(client, key, uid).await,
        });
    }
    all
}

async fn delete(client: &Client, key: Key, uid: String) -> Done {
    let how =
        DeleteParams::background().preconditions(Preconditions { uid: Some(uid), resource_version: None });
    match in_time(api(client, key.0, &key.1).delete(&key.2, &how)).await {
        Ok(_) => {
            tracing::info!(kind = key.0.name(), namespace = key.1, name = key.2, "deleted");
            Done::Deleted(key)
        }
        // 404: somebody was faster; 409: it is another one by now.
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Done::Deleted(key),
        Err(error) => Done::Failed(failure(key.0, &key.2, &error)),
    }
}

async fn keep_replicas(api: &Api<DynamicObject>, name: &str, replicas: u64) -> Result<DynamicObject, Error> {
    let part = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas},
    });
    api.patch(name, &PatchParams::apply(REPLICAS_MANAGER).force(), &Patch::Apply(&part)).await
}

/// Whether a Service can have a cluster IP: one is made with it, and deleted. (A dry run does not look whether it is
/// taken.) The inner error is the server's sentence.
pub(super) async fn probe(
    client: &Client,
    namespace: &str,
    service: Value,
) -> Result<Result<(), String>, Failure> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let api = api(client, OwnedKind::Service, namespace);
    let failed = |error: &Error| failure(OwnedKind::Service, &name, error);
    let object: DynamicObject =
        serde_json::from_value(service).map_err(|error| failed(&Error::SerdeError(error)))?;
    let how = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let outcome = match in_time(api.create(&how, &object)).await {
        Ok(_) => Ok(Ok(())),
        Err(Error::Api(status)) if status.code == 422 => return Ok(Err(status.message.clone())),
        // 409: one was forgotten; it goes now, and the next try will tell.
        Err(error @ Error::Api(_)) => Err(failed(&error)),
        Err(error) => return Err(failed(&error)),
    };
    match in_time(api.delete(&name, &DeleteParams::background())).await {
        Ok(_) => outcome,
        Err(Error::Api(status)) if status.code == 404 => outcome,
        Err(error) => Err(failed(&error)),
    }
}

/// The objects of a Gateway that is no longer ours, which nobody else will delete: the Gateway is there, but of another
/// class. A Gateway that is gone takes its objects with it, and one whose class is missing may get it back.
pub(super) async fn abandoned(
    client: &Client,
    gateway: &ObjectRef,
    objects: Vec<Arc<Live>>,
) -> Result<Vec<Step>, Failure> {
    let resource = ApiResource::erase::<Gateway>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &gateway.namespace, &resource);
    let found = match in_time(api.get(&gateway.name)).await {
        Ok(found) => found,
        Err(Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => {
            let message = format!("{gateway}: {}", text(&error));
            return Err(Failure { message, is_lasting: false, is_optional: true, is_refused_service: false });
        }
    };
    let class = found.data.pointer("/spec/gatewayClassName").and_then(Value::as_str).map(names::label_value);
    let is_left = |it: &&Arc<Live>| {
        let same = it.owner.as_ref().map(|owner| owner.1.as_str()) == found.metadata.uid.as_deref();
        same && it.class.is_some() && it.class != class
    };
    Ok(objects.iter().filter(is_left).filter_map(super::steps::delete).collect())
}

async fn in_time<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Service("the API server does not answer".into())),
    }
}

fn failure(kind: OwnedKind, name: &str, error: &Error) -> Failure {
    let code = if let Error::Api(status) = error { status.code } else { 0 };
    Failure {
        message: format!("{} {name:?}: {}", kind.name(), text(error)),
        is_lasting: matches!(code, 400 | 403 | 404 | 405 | 413 | 422),
        is_optional: kind.is_optional(),
        is_refused_service: kind == OwnedKind::Service && code == 422,
    }
}

fn text(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Requested cluster IPs by what a probe said.
pub(super) type Probed = (IpAddr, Result<(), String>);

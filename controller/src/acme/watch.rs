//! The watch of challenges: every replica hands them to its data planes, whoever leads.

use super::challenges::KEY;
use super::names::{CHALLENGE, RECORD_LABEL};
use crate::backoff::Backoff;
use crate::reconcile::Input;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice_ir::{Challenge, Resource, ResourceKind, wire};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

type Known = BTreeMap<String, Arc<Challenge>>;

/// Tells the reconciler all challenges, again whenever they are others, until `stop`.
pub(crate) async fn watch(
    client: Client,
    namespace: String,
    sink: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(&format!("{RECORD_LABEL}={CHALLENGE}"));
    let mut events = watcher::watcher(secrets, config).boxed();
    let (mut known, mut listed, mut told) = (Known::new(), Known::new(), Known::new());
    let mut backoff = Backoff::of_api();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Err(error)) => {
                tracing::debug!(%error, "the watch of challenges is interrupted");
                backoff.wait().await;
                continue;
            }
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(secret))) => put(&mut listed, secret),
            Some(Ok(Event::InitDone)) => known = std::mem::take(&mut listed),
            Some(Ok(Event::Apply(secret))) => put(&mut known, secret),
            Some(Ok(Event::Delete(secret))) => {
                known.remove(&secret.metadata.name.unwrap_or_default());
            }
        }
        backoff.reset();
        if known != told {
            told.clone_from(&known);
            let all = known.values().map(|it| (**it).clone()).collect();
            if sink.send(Input::Challenges(all)).await.is_err() {
                return;
            }
        }
    }
}

/// What can't be read is passed over: another version of the controller may have written it.
fn put(known: &mut Known, secret: Secret) {
    let name = secret.metadata.name.unwrap_or_default();
    let bytes = secret.data.and_then(|mut it| it.remove(KEY)).unwrap_or_default();
    match wire::decode(ResourceKind::Challenge, &bytes.0) {
        Ok(Resource::Challenge(challenge)) => drop(known.insert(name, challenge)),
        Ok(_) | Err(_) => {
            tracing::warn!(secret = name, "a challenge can't be read");
            known.remove(&name);
        }
    }
}

//! CustomResourceDefinitions, as far as they matter: that one of ours came, changed or went, and which release of the
//! Gateway API they are of. Only metadata is asked for.

use super::failure::{Failure, chain};
use crate::backoff::Backoff;
use crate::reconcile::Input;
use futures::StreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice_crds::{GATEWAY_API_GROUP, Kind};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// The release that a CRD of the Gateway API is of: `v1.6.1`.
const RELEASE: &str = "gateway.networking.k8s.io/bundle-version";
/// The CRD whose release counts: without it nothing works.
const CLASSES: &str = "gatewayclasses.gateway.networking.k8s.io";

type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// Rings `defined` when a CRD of a group that we read changes, and tells the release, until `stop`. Without permission
/// to watch CRDs new kinds are found by asking now and then.
pub(super) async fn watch(
    client: Client,
    sink: mpsc::Sender<Input>,
    defined: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut events = watcher::watcher(Api::<Definition>::all(client), watcher::Config::default()).boxed();
    let mut backoff = Backoff::of_api();
    let mut is_told = false;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let definition = match event {
            None => return,
            Some(Ok(Event::Init | Event::InitDone)) => continue,
            Some(Ok(Event::Apply(it) | Event::InitApply(it) | Event::Delete(it))) => it,
            Some(Err(error)) => {
                if !is_told && is_forbidden(&error) {
                    is_told = true;
                    let next_step = "give the controller's role list and watch for customresourcedefinitions";
                    tracing::warn!(
                        next_step,
                        "CRDs that are installed later are found up to half a minute late"
                    );
                }
                tracing::debug!(error = chain(&error), "the watch of CRDs is interrupted");
                backoff.wait().await;
                continue;
            }
        };
        backoff.reset();
        let name = definition.metadata.name.as_deref().unwrap_or_default();
        if name == CLASSES {
            let annotations = definition.metadata.annotations.as_ref();
            let release = annotations.and_then(|it| it.get(RELEASE)).cloned();
            if sink.send(Input::Release(release)).await.is_err() {
                return;
            }
        }
        if is_ours(name) {
            defined.notify_one();
        }
    }
}

/// Whether a CRD, named `PLURAL.GROUP`, is of a group that we read.
fn is_ours(name: &str) -> bool {
    let Some((_, group)) = name.split_once('.') else { return false };
    group == GATEWAY_API_GROUP || Kind::ALL.iter().any(|it| it.group() == group)
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        _ => return false,
    };
    matches!(error, kube::Error::Api(status) if matches!(Failure::of_code(status.code, ""), Failure::Forbidden(_)))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn definitions_of_other_groups_are_passed_over() {
        assert!(is_ours("httproutes.gateway.networking.k8s.io") && is_ours("gatewayparameters.sluice.dev"));
        assert!(!is_ours("certificates.cert-manager.io") && !is_ours("nothing"));
    }
}

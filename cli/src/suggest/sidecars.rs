//! Asks the sidecars of a namespace what they have seen, through the API server: each pod's admin port is forwarded, as
//! `kubectl port-forward` does, so that nothing of it is open to a network.

use super::Found;
use super::workloads::{Asked, group};
use crate::cluster;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use sluice_controller::inject::PROXY;
use sluice_proxy::telemetry::seen::SeenCalls;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The sidecar's admin port.
const ADMIN_PORT: u16 = 15000;
/// Time for one pod.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pods that are asked at a time.
const AT_ONCE: usize = 16;
/// Pods of a namespace that are asked.
const MOST_PODS: usize = 5_000;
/// Pods of one answer of the API server.
const PAGE: u32 = 500;
/// Bytes of an answer.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What all sidecars of a namespace have seen whose pods have these labels, by workload. A pod that can't be asked is noted.
pub(super) async fn ask_all(
    client: Client,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    prefix: &str,
) -> anyhow::Result<Found> {
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let pods = list(&api, labels).await?;
    ensure!(!pods.is_empty(), "namespace {namespace} has no pods that run with such labels");
    let asked = futures::stream::iter(pods.into_iter().map(|pod| ask(&api, pod)));
    let mut asked: Vec<Asked> = asked.buffer_unordered(AT_ONCE).collect().await;
    asked.sort_by_key(|(pod, _)| pod.name_any());
    Ok(group(asked, prefix))
}

async fn list(api: &Api<Pod>, labels: &BTreeMap<String, String>) -> anyhow::Result<Vec<Pod>> {
    let selector: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut params =
        ListParams::default().labels(&selector.join(",")).fields("status.phase=Running").limit(PAGE);
    let mut pods = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(cluster::told)?;
        pods.extend(page.items);
        ensure!(pods.len() <= MOST_PODS, "more than {MOST_PODS} pods; take a part of them with --selector");
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(pods),
        }
    }
}

async fn ask(api: &Api<Pod>, pod: Pod) -> Asked {
    let seen = match has_sidecar(&pod) {
        false => Err("it has no sidecar".to_owned()),
        true => match tokio::time::timeout(TIMEOUT, seen(api, &pod.name_any())).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
        },
    };
    (pod, seen)
}

fn has_sidecar(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.init_containers.iter().flatten().chain(&spec.containers).any(|it| it.name == PROXY)
}

async fn seen(api: &Api<Pod>, name: &str) -> anyhow::Result<SeenCalls> {
    let mut forwarded = api.portforward(name, &[ADMIN_PORT]).await.map_err(cluster::told)?;
    let stream = forwarded.take_stream(ADMIN_PORT).context("its port was not forwarded")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get("/debug/calls").header(HOST, "localhost").body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await.context("its sidecar does not answer")?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => bail!("its sidecar is of a version that does not tell of calls"),
        status => bail!("its sidecar answers {status}"),
    }
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("its sidecar's answer: {error}"))?.to_bytes();
    serde_json::from_slice(&body).context("its sidecar's answer can't be read; is it of another version?")
}

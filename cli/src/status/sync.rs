//! How far the proxies are: the controller's `/debug/sync`, reached through the API server's proxy to its pods.

use super::report::{Behind, GatewayReport, Problem, ProxiesReport, Report};
use crate::cluster;
use crate::install::CONTROLLER;
use crate::output::counted;
use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Port of the controller's admin server.
const ADMIN_PORT: u16 = 15014;
/// How long one replica may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many replicas are asked.
const REPLICAS: usize = 9;

/// How the proxies of one Gateway stand, as the controller tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GatewaySync {
    /// Connected proxies.
    pub connected: u32,
    /// Of them, those that have acknowledged the newest of everything.
    pub in_sync: u32,
    /// Each of them.
    pub proxies: Vec<ProxySync>,
}

/// How one proxy stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProxySync {
    /// Name of its pod.
    pub name: String,
    /// Resources that are newer than what it acknowledged.
    pub behind: usize,
    /// Since when, in seconds since 1970.
    pub behind_since_s: Option<u64>,
    /// Resources that it refused.
    pub refusals: Vec<Refusal>,
}

/// A resource that a proxy refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// Name of the resource.
    pub resource: String,
    /// The object that it comes from.
    pub origin: Option<String>,
    /// Why.
    pub message: String,
}

/// A Gateway's `namespace/name` and how its proxies stand.
pub(super) type Syncs = Vec<(String, GatewaySync)>;

/// Asks the replicas, the one that writes first, until one answers: each knows of all.
pub(super) async fn fetch(client: &Client, namespace: &str, leader: Option<&str>) -> anyhow::Result<Syncs> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("app.kubernetes.io/name={CONTROLLER}");
    let pods = api.list_metadata(&ListParams::default().labels(&selector)).await.map_err(cluster::told)?;
    let mut names: Vec<String> = pods.items.iter().map(kube::ResourceExt::name_any).collect();
    names.sort_by_key(|name| leader != Some(name.as_str()));
    let mut last = anyhow::anyhow!("the controller has no pods");
    for name in names.into_iter().take(REPLICAS) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/http:{name}:{ADMIN_PORT}/proxy/debug/sync");
        match ask(client, &path).await {
            Ok(syncs) => return Ok(syncs),
            Err(error) => last = error.context(format!("pod {name}")),
        }
    }
    Err(last)
}

async fn ask(client: &Client, path: &str) -> anyhow::Result<Syncs> {
    let request = http::Request::get(path).body(Vec::new())?;
    let answer = tokio::time::timeout(TIMEOUT, client.request_text(request)).await;
    let Ok(answer) = answer else { bail!("no answer within {TIMEOUT:?}") };
    parse(&answer.map_err(cluster::told)?)
}

/// A list of pairs: the Gateway's `namespace/name`, and how its proxies stand.
fn parse(answer: &str) -> anyhow::Result<Syncs> {
    serde_json::from_str(answer).context("the controller's answer can't be read; is it of another version?")
}

/// Puts what the controller knows beside each Gateway.
pub(super) fn enter(report: &mut Report, syncs: &Syncs, now: SystemTime) {
    for gateway in &mut report.gateways {
        let name = format!("{}/{}", gateway.namespace, gateway.name);
        let sync = syncs.iter().find(|(it, _)| *it == name).map(|(_, sync)| sync.clone()).unwrap_or_default();
        let proxies = proxies(&sync, now);
        report.problems.extend(problems(gateway, &proxies));
        gateway.proxies = Some(proxies);
    }
}

fn proxies(sync: &GatewaySync, now: SystemTime) -> ProxiesReport {
    let behind = sync.proxies.iter().map(|proxy| Behind { name: proxy.name.clone(), why: why(proxy, now) });
    ProxiesReport {
        connected: sync.connected,
        in_sync: sync.in_sync,
        behind: behind.filter(|it| !it.why.is_empty()).collect(),
    }
}

fn why(proxy: &ProxySync, now: SystemTime) -> Vec<String> {
    let refusals = proxy.refusals.iter().map(|refusal| {
        let what = refusal.origin.as_deref().unwrap_or(&refusal.resource);
        format!("refused {what}: {}", refusal.message)
    });
    let mut why: Vec<String> = refusals.collect();
    if why.is_empty() && proxy.behind > 0 {
        let since = proxy.behind_since_s.map(|it| UNIX_EPOCH + Duration::from_secs(it));
        let time = since.and_then(|it| now.duration_since(it).ok());
        let time = time.map(|it| format!(" for {}s", it.as_secs())).unwrap_or_default();
        why.push(format!("has not acknowledged {}{time}", counted(proxy.behind, "resource")));
    }
    why
}

fn problems(gateway: &GatewayReport, proxies: &ProxiesReport) -> Vec<Problem> {
    let object = format!("Gateway {}/{}", gateway.namespace, gateway.name);
    if gateway.accepted && proxies.connected == 0 {
        let namespace = &gateway.namespace;
        let message =
            format!("no proxy is connected to the controller; kubectl -n {namespace} get pods tells why");
        return vec![Problem { object, message }];
    }
    let told =
        |it: &Behind| Problem { object: format!("{object} proxy {}", it.name), message: it.why.join("; ") };
    proxies.behind.iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{enter, parse};
    use crate::status::{GatewayReport, Report};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_proxy_that_refused_something_is_a_problem_with_its_reason() {
        let syncs = parse(
            r#"[["shop/web", {"connected": 3, "in_sync": 1, "programmed": true, "settling": false, "proxies": [
                {"name": "web-a", "version": "1", "behind": 0},
                {"name": "web-b", "version": "1", "behind": 1, "refusals": [
                    {"resource": "Route HTTPRoute/shop/cart", "origin": "HTTPRoute shop/cart", "message": "bad regex"}]},
                {"name": "web-c", "version": "1", "behind": 2, "behind_since_s": 100}]}]]"#,
        )
        .unwrap();
        let gateway = |name: &str| GatewayReport {
            namespace: "shop".into(),
            name: name.into(),
            accepted: true,
            ..GatewayReport::default()
        };
        let mut report = Report { gateways: vec![gateway("web"), gateway("new")], ..Report::default() };
        enter(&mut report, &syncs, UNIX_EPOCH + Duration::from_secs(112));
        let told: Vec<_> =
            report.problems.iter().map(|it| format!("{}: {}", it.object, it.message)).collect();
        assert_eq!(
            told,
            [
                "Gateway shop/web proxy web-b: refused HTTPRoute shop/cart: bad regex",
                "Gateway shop/web proxy web-c: has not acknowledged 2 resources for 12s",
                "Gateway shop/new: no proxy is connected to the controller; kubectl -n shop get pods tells why",
            ]
        );
        assert_eq!(report.gateways[0].proxies.as_ref().unwrap().in_sync, 1);
    }

    #[test]
    fn an_answer_of_another_kind_is_an_error() {
        assert!(parse("<html>").is_err());
    }
}

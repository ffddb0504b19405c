//! Asks the API server for everything that the report tells.

use super::objects::{self, full_name, text};
use super::report::{ControllerReport, Problem, Report, RouteReport};
use super::sync;
use crate::cluster::{self, resource};
use crate::install::{CONTROLLER, Key};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::SystemTime;

/// Kinds of routes, with the versions that may be served, the preferred one first.
const ROUTES: [(&str, &[&str]); 5] = [
    ("HTTPRoute", &["v1"]),
    ("GRPCRoute", &["v1"]),
    ("TLSRoute", &["v1", "v1alpha3", "v1alpha2"]),
    ("TCPRoute", &["v1", "v1alpha2"]),
    ("UDPRoute", &["v1", "v1alpha2"]),
];

/// How many objects one answer of the API server holds.
const PAGE: u32 = 500;

/// The report of a cluster, of one namespace when it is named.
pub async fn gather(
    client: &Client,
    controller_namespace: &str,
    namespace: Option<&str>,
) -> anyhow::Result<Report> {
    let mut report =
        Report { controller: controller(client, controller_namespace).await?, ..Report::default() };
    match &report.controller {
        None => report.notes.push(format!(
            "no controller in the namespace {controller_namespace}; sluice install makes one, --controller-namespace names another"
        )),
        Some(it) if it.ready < it.replicas => report.problems.push(Problem {
            object: format!("Deployment {controller_namespace}/{CONTROLLER}"),
            message: format!("{} of {} replicas are ready; kubectl -n {controller_namespace} describe pods tells why", it.ready, it.replicas),
        }),
        Some(_) => {}
    }
    let (controllers, classes) = classes(client, &mut report).await?;
    let mut ours = BTreeSet::new();
    for gateway in list(client, "Gateway", &["v1"], None).await? {
        if !classes.contains(text(&gateway, "/spec/gatewayClassName")) {
            continue;
        }
        ours.insert(full_name(&gateway));
        if namespace.is_none_or(|it| text(&gateway, "/metadata/namespace") == it) {
            let judged = objects::gateway(&gateway);
            report.gateways.push(judged.report);
            report.problems.extend(judged.problems);
        }
    }
    listener_sets(client, namespace, &ours, &mut report).await?;
    routes(client, namespace, &controllers, &ours, &mut report).await?;
    if report.controller.is_some() {
        let leader = report.controller.as_ref().and_then(|it| it.leader.clone());
        match sync::fetch(client, controller_namespace, leader.as_deref()).await {
            Ok(syncs) => sync::enter(&mut report, &syncs, SystemTime::now()),
            Err(why) => report.notes.push(format!("how far the proxies are is not known: {why:#}")),
        }
    }
    Ok(report)
}

async fn controller(client: &Client, namespace: &str) -> anyhow::Result<Option<ControllerReport>> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let Some(deployment) = api.get_opt(CONTROLLER).await.map_err(cluster::told)? else { return Ok(None) };
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    // Reading leases may be forbidden to the user: then nobody is named.
    let lease = leases.get_opt(CONTROLLER).await.unwrap_or_default();
    let holder = lease.and_then(|it| it.spec).and_then(|it| it.holder_identity).filter(|it| !it.is_empty());
    let spec = deployment.spec.unwrap_or_default();
    let containers = spec.template.spec.map(|it| it.containers).unwrap_or_default();
    Ok(Some(ControllerReport {
        namespace: namespace.to_owned(),
        image: containers.into_iter().next().and_then(|it| it.image).unwrap_or_default(),
        replicas: spec.replicas.unwrap_or(1),
        ready: deployment.status.and_then(|it| it.ready_replicas).unwrap_or(0),
        leader: holder,
    }))
}

/// The names of our controllers, and the classes that choose them.
async fn classes(client: &Client, report: &mut Report) -> anyhow::Result<(Vec<String>, BTreeSet<String>)> {
    let all = list(client, "GatewayClass", &["v1"], None).await?;
    let mut controllers = vec![Key::ControllerName.facts().default.to_owned()];
    let installed =
        all.iter().filter(|it| text(it, "/metadata/labels/app.kubernetes.io~1part-of") == "sluice");
    controllers.extend(installed.map(|it| text(it, "/spec/controllerName").to_owned()));
    let ours =
        all.iter().filter(|it| controllers.iter().any(|name| name == text(it, "/spec/controllerName")));
    let mut classes = BTreeSet::new();
    for class in ours {
        report.problems.extend(objects::gateway_class(class));
        classes.insert(text(class, "/metadata/name").to_owned());
    }
    Ok((controllers, classes))
}

async fn listener_sets(
    client: &Client,
    namespace: Option<&str>,
    ours: &BTreeSet<String>,
    report: &mut Report,
) -> anyhow::Result<()> {
    for set in list(client, "ListenerSet", &["v1"], namespace).await? {
        let own = text(&set, "/metadata/namespace");
        let parent = text(&set, "/spec/parentRef/name");
        let parent_namespace =
            set.pointer("/spec/parentRef/namespace").and_then(Value::as_str).unwrap_or(own);
        if ours.contains(&format!("{parent_namespace}/{parent}")) {
            report.problems.extend(objects::listener_set(&set));
        }
    }
    Ok(())
}

async fn routes(
    client: &Client,
    namespace: Option<&str>,
    controllers: &[String],
    ours: &BTreeSet<String>,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (kind, versions) in ROUTES {
        for route in list(client, kind, versions, namespace).await? {
            if let Some(judged) = objects::route(&route, kind, controllers, |name| ours.contains(name)) {
                report.routes.push(judged.report);
                report.problems.extend(judged.problems);
            }
        }
    }
    let place = |it: &RouteReport| (it.namespace.clone(), it.kind.clone(), it.name.clone());
    report.routes.sort_by_cached_key(place);
    Ok(())
}

/// The objects of a Gateway API kind as JSON, sorted; none when the cluster does not have the kind.
async fn list(
    client: &Client,
    kind: &str,
    versions: &[&str],
    namespace: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    for version in versions {
        let resource = resource(&format!("gateway.networking.k8s.io/{version}"), kind)?;
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let mut params = ListParams::default().limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let page = match api.list(&params).await {
                Ok(page) => page,
                Err(kube::Error::Api(status)) if status.code == 404 && objects.is_empty() => break,
                Err(error) => {
                    return Err(
                        cluster::told(error).context(format!("can't list objects of the kind {kind}"))
                    );
                }
            };
            params.continue_token = page.metadata.continue_.clone().filter(|it| !it.is_empty());
            objects.extend(page.items.into_iter().filter_map(|it| serde_json::to_value(it).ok()));
            if params.continue_token.is_none() {
                objects.sort_by_cached_key(full_name);
                return Ok(objects);
            }
        }
    }
    Ok(Vec::new())
}

//! `sluice uninstall`: removes what install made, and says what.
//!
//! Found by its labels, so that nothing of anybody else is touched. Gateways of the class keep it from starting: with
//! the controller gone nobody would delete what they run on.

use super::apply::{POLL, delete, installed, labelled};
use super::manifests::{CONTROLLER, Manifest};
use super::settings::NAMESPACE;
use crate::cluster::{self, ClusterArgs, resource};
use crate::output::counted;
use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Remove what sluice install made.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Gateways and routes are yours and stay. While Gateways of Sluice's classes exist nothing is removed, since with the
controller gone nobody would clean up behind them: delete them first, or keep them serving their last configuration with
--force.

Exit status: 0 removed (or nothing was there), 2 not removed.")]
pub struct UninstallArgs {
    /// Remove the CRDs of GatewayParameters, CertificateIssuer, TrafficPolicy and HealthCheckPolicy too, and with them all objects of the kinds.
    #[arg(long)]
    pub purge_crds: bool,
    /// Remove the controller although Gateways exist: they go on serving what they last got.
    #[arg(long)]
    pub force: bool,
    /// Wait until all is gone.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = crate::duration::parse)]
    pub timeout: Duration,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Removes.
pub fn run(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    cluster::block_on(async {
        let uninstaller = Uninstaller::new(args.cluster.client().await?);
        let removed = uninstaller.remove(args.purge_crds, args.force, args.timeout).await?;
        for manifest in &removed {
            println!("removed     {}", manifest.title());
        }
        if removed.is_empty() {
            println!("nothing of sluice install is on the cluster");
        }
        if args.wait {
            uninstaller.until_gone(&removed, args.timeout).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Finds and removes.
#[allow(missing_debug_implementations)]
pub struct Uninstaller {
    client: Client,
}

impl Uninstaller {
    /// For a cluster.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Removes everything that install made; returns it. Fails, and removes nothing, while other Gateways exist, unless
    /// forced.
    pub async fn remove(
        &self,
        purge_crds: bool,
        force: bool,
        timeout: Duration,
    ) -> anyhow::Result<Vec<Manifest>> {
        let all = installed(&self.client).await?;
        let gateways = self.foreign_gateways(&all).await?;
        if !force && !gateways.is_empty() {
            let shown: Vec<_> = gateways.iter().take(5).map(String::as_str).collect();
            let more = if gateways.len() > shown.len() { ", …" } else { "" };
            bail!(
                "{} of Sluice's classes exist ({}{more}); delete them first, or keep them as they are with --force",
                counted(gateways.len(), "Gateway"),
                shown.join(", ")
            );
        }
        let own: Vec<_> = self.own_objects(&all).await?;
        let mut removed = Vec::new();
        // The demo's Gateway first, while the controller still runs.
        let (demo, rest): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|it| matches!(it.kind(), "HTTPRoute" | "Gateway"));
        self.remove_each(demo, &mut removed).await?;
        self.until_gone(&removed, timeout).await?;
        self.remove_each(rest, &mut removed).await?;
        self.remove_each(labelled(&self.client, "v1", "Namespace").await?, &mut removed).await?;
        // What the controller left in a namespace that is not ours.
        self.remove_each(own, &mut removed).await?;
        if purge_crds {
            let crds = labelled(&self.client, "apiextensions.k8s.io/v1", "CustomResourceDefinition").await?;
            self.remove_each(crds, &mut removed).await?;
        }
        Ok(removed)
    }

    /// Waits until the objects are gone.
    pub async fn until_gone(&self, removed: &[Manifest], timeout: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        for manifest in removed {
            let api = super::apply::api_of(&self.client, manifest)?;
            while let Some(left) = get(&api, manifest.name()).await? {
                if begin.elapsed() > timeout {
                    let finalizers = left.finalizers().join(", ");
                    bail!("{} is not gone after {timeout:?} (finalizers: {finalizers})", manifest.title());
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn remove_each(&self, objects: Vec<Manifest>, removed: &mut Vec<Manifest>) -> anyhow::Result<()> {
        for object in objects {
            if delete(&self.client, &object).await? {
                removed.push(object);
            }
        }
        Ok(())
    }

    /// Gateways of the controller's classes that install did not make.
    async fn foreign_gateways(&self, ours: &[Manifest]) -> anyhow::Result<Vec<String>> {
        let names = self.controller_names(ours).await?;
        let of_ours = |class: &&DynamicObject| {
            class.data["spec"]["controllerName"]
                .as_str()
                .is_some_and(|name| names.iter().any(|it| it == name))
        };
        let classes = self.list("GatewayClass").await?;
        let classes: Vec<String> = classes.iter().filter(of_ours).map(|it| it.name_any()).collect();
        let of_class = |gateway: &DynamicObject| {
            let class = gateway.data["spec"]["gatewayClassName"].as_str();
            class.is_some_and(|class| classes.iter().any(|it| it == class))
        };
        let gateways = self.list("Gateway").await?.into_iter().filter(of_class);
        let titles = gateways.map(|it| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any()));
        let made = |title: &String| ours.iter().any(|it| it.title() == format!("Gateway {title}"));
        Ok(titles.filter(|title| !made(title)).collect())
    }

    /// The controller name of each class that install made.
    async fn controller_names(&self, ours: &[Manifest]) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for manifest in ours.iter().filter(|it| it.kind() == "GatewayClass") {
            let class = get(&super::apply::api_of(&self.client, manifest)?, manifest.name()).await?;
            names.extend(class.and_then(|it| it.data["spec"]["controllerName"].as_str().map(str::to_owned)));
        }
        Ok(names)
    }

    /// What the controller made for itself: its lease and its certificate authority.
    async fn own_objects(&self, all: &[Manifest]) -> anyhow::Result<Vec<Manifest>> {
        let deployment = all.iter().find(|it| it.kind() == "Deployment" && it.name() == CONTROLLER);
        let namespace = deployment.and_then(Manifest::namespace).unwrap_or(NAMESPACE);
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let is_there = deployments.get_metadata_opt(CONTROLLER).await.map_err(cluster::told)?.is_some();
        let own = |api_version, kind, name| {
            Manifest(json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": { "name": name, "namespace": namespace },
            }))
        };
        let own = [
            own("coordination.k8s.io/v1", "Lease", CONTROLLER),
            own("v1", "Secret", "sluice-ca"),
            own("v1", "Secret", "sluice-tickets"),
            own("v1", "ConfigMap", "sluice-ca"),
        ];
        Ok(if is_there { own.into() } else { Vec::new() })
    }

    async fn list(&self, kind: &str) -> anyhow::Result<Vec<DynamicObject>> {
        let api: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &resource("gateway.networking.k8s.io/v1", kind)?);
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(cluster::told(error)),
        }
    }
}

async fn get(api: &Api<DynamicObject>, name: &str) -> anyhow::Result<Option<DynamicObject>> {
    api.get_opt(name).await.map_err(cluster::told)
}

//! Custom resource definitions: installed as an administrator does, and awaited until the API server serves them.

use crate::assets::Assets;
use crate::wait::eventually;
use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use sluice_crds::{CertificateIssuer, GatewayParameters, HealthCheckPolicy, TrafficPolicy};
use std::fs;

/// A release channel of the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What is stable.
    Standard,
    /// The stable and the experimental kinds and fields.
    Experimental,
}

impl Channel {
    fn folder(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Experimental => "experimental",
        }
    }
}

/// Installs a channel's definitions, those of Istio's kinds and our own. Without the admission policy that guards upgrades between
/// channels, so that a test may change the channel.
pub(crate) async fn install(client: &Client, assets: &Assets, channel: Channel) -> Result<()> {
    let mut definitions = definitions(assets, channel)?;
    definitions.push(GatewayParameters::crd());
    definitions.push(CertificateIssuer::crd());
    definitions.push(TrafficPolicy::crd());
    definitions.push(HealthCheckPolicy::crd());
    definitions.extend(crate::istio::definitions()?);
    let api: Api<Definition> = Api::all(client.clone());
    let how = PatchParams::apply("sluice-cluster-tests").force();
    for definition in &definitions {
        let name = definition.name_any();
        api.patch(&name, &how, &Patch::Apply(definition))
            .await
            .with_context(|| format!("installing {name}"))?;
    }
    for definition in &definitions {
        let name = definition.name_any();
        eventually(&name, async || match established(&api.get(&name).await?) {
            true => Ok(()),
            false => bail!("not established"),
        })
        .await;
    }
    Ok(())
}

/// The definitions of a channel, as published.
fn definitions(assets: &Assets, channel: Channel) -> Result<Vec<Definition>> {
    let folder = assets.crds(channel.folder());
    let mut definitions = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        if text.lines().any(|line| line == "kind: CustomResourceDefinition") {
            let definition = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
            definitions.push(definition);
        }
    }
    Ok(definitions)
}

fn established(definition: &Definition) -> bool {
    let conditions =
        definition.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

//! The Gateway API's CRDs: are they there, and are they of a release that Sluice speaks?
//!
//! They belong to the cluster, not to one controller, so they are never installed or removed by Sluice.

use crate::cluster;
use anyhow::bail;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};

/// The release that Sluice is made and tested for.
const VERSION: (u32, u32) = (1, 6);

/// The command that installs the release.
pub const INSTALL_COMMAND: &str = "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml";

/// Annotation by which each CRD says its release.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Fails when the CRDs are missing; a warning when they are of another release.
pub async fn check(client: &Client) -> anyhow::Result<Option<String>> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in ["gatewayclasses", "gateways", "httproutes"] {
        let name = format!("{kind}.gateway.networking.k8s.io");
        let Some(crd) = api.get_metadata_opt(&name).await.map_err(cluster::told)? else {
            bail!(
                "the cluster has no Gateway API: {name} is missing; install it first:\n  {INSTALL_COMMAND}"
            );
        };
        if kind == "gateways" {
            let version = crd.annotations().get(BUNDLE_VERSION).map_or("", String::as_str);
            if let Some(warning) = judge(version) {
                return Ok(Some(warning));
            }
        }
    }
    Ok(None)
}

/// What there is to say of a release.
fn judge(bundle: &str) -> Option<String> {
    let (major, minor) = VERSION;
    let mut parts = bundle.trim_start_matches('v').split('.').map_while(|part| part.parse::<u32>().ok());
    let found = (parts.next(), parts.next());
    let (Some(found_major), Some(found_minor)) = found else {
        return Some(format!(
            "the Gateway API's CRDs do not say their release (annotation {BUNDLE_VERSION}: {bundle:?}); made for v{major}.{minor}"
        ));
    };
    match (found_major, found_minor).cmp(&VERSION) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!(
            "the cluster has the Gateway API {bundle}, Sluice is made for v{major}.{minor}: newer kinds and fields are missing; to upgrade:\n  {INSTALL_COMMAND}"
        )),
        std::cmp::Ordering::Greater => Some(format!(
            "the cluster has the Gateway API {bundle}, Sluice is made for v{major}.{minor}: newer kinds and fields are left alone"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::judge;

    #[test]
    fn only_another_release_is_told() {
        assert_eq!(judge("v1.6.1"), None);
        assert_eq!(judge("v1.6.0-rc.2"), None);
        assert!(judge("v1.2.0").unwrap().contains("kubectl apply"));
        assert!(judge("v1.7.0").unwrap().contains("left alone"));
        assert!(judge("").unwrap().contains("do not say"));
    }
}

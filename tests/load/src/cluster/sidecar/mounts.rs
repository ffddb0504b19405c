//! The ConfigMap with the mesh's roots as files, which follow it as the kubelet has them follow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use sluice_cluster_tests::{Space, eventually};

/// The ConfigMap in each namespace.
const CONFIG_MAP: &str = "istio-ca-root-cert";
/// Its key, and the file, of the mesh's roots.
pub(super) const ROOTS: &str = "root-cert.pem";
/// Its key, and the file, of what vouches for the controller.
pub(super) const CONTROLLER: &str = "controller.pem";
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Writes the files once, and then whenever the ConfigMap differs, as long as the runtime lives.
pub(super) async fn mount(space: &Space, folder: PathBuf) -> Result<()> {
    std::fs::create_dir_all(&folder)?;
    let configs = space.api::<ConfigMap>();
    eventually("the mesh's roots", async || write(&configs, &folder).await).await;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            // What can't be read now can be a moment later.
            let _ = write(&configs, &folder).await;
        }
    });
    Ok(())
}

async fn write(configs: &Api<ConfigMap>, folder: &Path) -> Result<()> {
    let data = configs.get(CONFIG_MAP).await?.data.unwrap_or_default();
    for key in [CONTROLLER, ROOTS] {
        let text = data.get(key).with_context(|| format!("{CONFIG_MAP} has no {key}"))?;
        let (file, next) = (folder.join(key), folder.join(format!("{key}.next")));
        if std::fs::read_to_string(&file).ok().as_ref() != Some(text) {
            std::fs::write(&next, text)?;
            std::fs::rename(&next, &file)?;
        }
    }
    Ok(())
}

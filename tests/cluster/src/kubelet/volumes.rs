//! The volumes of a pod as folders: emptyDir, ConfigMap, Secret, projected (service account tokens among them) and the
//! downward API.

use super::fields::field;
use anyhow::{Context, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// File names with their contents.
type Files = BTreeMap<String, Vec<u8>>;

/// Makes the volumes of a pod below a folder, or makes those that can change as they are now. Returns each volume's
/// folder by its name. Fails as long as something that a volume needs does not exist.
pub(crate) async fn make(client: &Client, pod: &Pod, folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let maker = Maker { client, pod, namespace: pod.namespace().context("a namespace")? };
    let mut made = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let path = folder.join(&volume.name);
        maker.make(volume, &path).await.with_context(|| format!("volume {}", volume.name))?;
        made.insert(volume.name.clone(), path);
    }
    Ok(made)
}

struct Maker<'a> {
    client: &'a Client,
    pod: &'a Pod,
    namespace: String,
}

impl Maker<'_> {
    async fn make(&self, volume: &Volume, path: &Path) -> Result<()> {
        fs::create_dir_all(path)?;
        let files = if volume.empty_dir.is_some() {
            // Whoever the container runs as owns it.
            fs::set_permissions(path, Permissions::from_mode(0o777))?;
            return Ok(());
        } else if let Some(source) = &volume.config_map {
            self.config_map(&source.name, source.items.as_deref(), source.optional).await?
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().context("a Secret's name")?;
            self.secret(name, source.items.as_deref(), source.optional).await?
        } else if let Some(source) = &volume.downward_api {
            self.downward(source.items.as_deref().unwrap_or_default())?
        } else if let Some(source) = &volume.projected {
            let mut files = Files::new();
            for source in source.sources.iter().flatten() {
                files.extend(self.projected(source, path).await?);
            }
            files
        } else {
            bail!("its type is not known here");
        };
        write(path, &files)
    }

    async fn projected(&self, source: &VolumeProjection, path: &Path) -> Result<Files> {
        if let Some(source) = &source.config_map {
            return self.config_map(&source.name, source.items.as_deref(), source.optional).await;
        }
        if let Some(source) = &source.secret {
            return self.secret(&source.name, source.items.as_deref(), source.optional).await;
        }
        if let Some(source) = &source.downward_api {
            return self.downward(source.items.as_deref().unwrap_or_default());
        }
        if let Some(source) = &source.service_account_token {
            if path.join(&source.path).exists() {
                return Ok(Files::new());
            }
            return Ok([(source.path.clone(), self.token(source).await?.into_bytes())].into());
        }
        bail!("a projected source of unknown type")
    }

    /// A token that is bound to the pod: it ends with the pod.
    async fn token(&self, source: &ServiceAccountTokenProjection) -> Result<String> {
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: source.audience.iter().cloned().collect(),
                expiration_seconds: Some(source.expiration_seconds.unwrap_or(3_600)),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(self.pod.name_any()),
                    uid: self.pod.uid(),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = account.unwrap_or("default");
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        Ok(answer.status.context("a token")?.token)
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Files> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(object) = api.get_opt(name).await? else {
            return missing(&format!("ConfigMap {name}"), optional);
        };
        let mut files: Files =
            object.binary_data.into_iter().flatten().map(|(key, ByteString(value))| (key, value)).collect();
        files.extend(object.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes())));
        picked(files, items, optional)
    }

    async fn secret(&self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(object) = api.get_opt(name).await? else {
            return missing(&format!("Secret {name}"), optional);
        };
        let files = object.data.into_iter().flatten().map(|(key, ByteString(value))| (key, value)).collect();
        picked(files, items, optional)
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile]) -> Result<Files> {
        let file = |item: &DownwardAPIVolumeFile| {
            let path = &item.field_ref.as_ref().context("only fieldRef is known here")?.field_path;
            Ok((item.path.clone(), field(self.pod, None, path)?.into_bytes()))
        };
        items.iter().map(file).collect()
    }
}

fn missing(what: &str, optional: Option<bool>) -> Result<Files> {
    if optional == Some(true) { Ok(Files::new()) } else { bail!("{what} not found") }
}

fn picked(mut files: Files, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files> {
    let Some(items) = items else { return Ok(files) };
    let mut picked = Files::new();
    for item in items {
        match files.remove(&item.key) {
            Some(content) => drop(picked.insert(item.path.clone(), content)),
            None if optional == Some(true) => {}
            None => bail!("key {} not found", item.key),
        }
    }
    Ok(picked)
}

/// Writes what is new or changed, each file at once: a reader sees the old content or the new.
fn write(folder: &Path, files: &Files) -> Result<()> {
    for (name, content) in files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|old| old == *content) {
            continue;
        }
        fs::create_dir_all(path.parent().context("a parent")?)?;
        let new = folder.join(".new");
        fs::write(&new, content)?;
        fs::set_permissions(&new, Permissions::from_mode(0o644))?;
        fs::rename(&new, &path)?;
    }
    Ok(())
}

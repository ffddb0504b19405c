//! Reads the roots from their Secret, makes it if there is none, and keeps it up to date.

use super::{Roots, Tickets};
use crate::backoff::Backoff;
use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use sluice_ir::SecretBytes;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Secret.
pub const SECRET: &str = "sluice-tickets";

/// How often the Secret is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// How often a replica tries when others write at the same time.
const TRIES: usize = 10;
/// How often the start waits for the API server; without the Secret each data plane has keys of its own.
const TRIES_AT_START: usize = 3;

/// Keeps the Secret.
pub struct Keeper {
    secrets: Api<Secret>,
    namespace: String,
    roots: watch::Sender<Vec<SecretBytes>>,
}

/// The roots as the Secret has them, and who keeps them. When the Secret can't be had there are none for now, which is
/// told: sessions are then resumed by the replica that began them.
pub async fn load(client: Client, namespace: &str) -> (Tickets, Keeper) {
    let (roots, seen) = watch::channel(Vec::new());
    let keeper =
        Keeper { secrets: Api::namespaced(client, namespace), namespace: namespace.to_owned(), roots };
    let mut backoff = Backoff::of_api();
    for _ in 0..TRIES_AT_START {
        if keeper.look().await {
            break;
        }
        backoff.wait().await;
    }
    let mut seen = seen;
    seen.mark_unchanged();
    (Tickets(seen), keeper)
}

impl Keeper {
    /// Keeps the Secret up to date until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            self.look().await;
        }
    }

    /// Whether the Secret is as it must be. What fails is told and tried again.
    async fn look(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self.settle(now.as_secs()).await {
            Ok(roots) => {
                let order = roots.in_order(now.as_secs());
                self.roots.send_if_modified(|before| {
                    let changed = *before != order;
                    *before = order;
                    changed
                });
                true
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "the secrets of session tickets can't be kept up to date");
                false
            }
        }
    }

    /// Reads the Secret and brings it to where it must be; who writes at the same time wins, and is read again.
    async fn settle(&self, now_s: u64) -> Result<Roots> {
        let named = || format!("Secret {}/{SECRET}", self.namespace);
        for _ in 0..TRIES {
            let found = self.secrets.get_opt(SECRET).await.with_context(named)?;
            let roots = found.as_ref().and_then(|it| it.data.as_ref()).map(Roots::from_data);
            let Some(next) = roots.clone().unwrap_or_default().advanced(now_s)? else {
                return Ok(roots.unwrap_or_default());
            };
            let version = found.as_ref().and_then(|it| it.metadata.resource_version.clone());
            let object = self.object(&next, version);
            let written = match found {
                None => self.secrets.create(&PostParams::default(), &object).await,
                Some(_) => self.secrets.replace(SECRET, &PostParams::default(), &object).await,
            };
            match written {
                Ok(_) => return Ok(next),
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {}
                Err(error) => return Err(error).with_context(named),
            }
        }
        bail!("{} changes all the time", named())
    }

    fn object(&self, roots: &Roots, version: Option<String>) -> Secret {
        let label = ("app.kubernetes.io/managed-by".to_owned(), "sluice-controller".to_owned());
        Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([label])),
                resource_version: version,
                ..ObjectMeta::default()
            },
            // A type can't be changed, and what is no root is replaced.
            type_: Some("Opaque".to_owned()),
            data: Some(roots.to_data()),
            ..Secret::default()
        }
    }
}

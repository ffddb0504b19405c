//! The authority of this installation: read from its Secret, made if there is none, kept up to date.

use super::kept::Kept;
use super::root::LEAF_LIFE;
use super::serving::ServingCertificate;
use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use kube::{Api, Client};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Secret.
pub const SECRET: &str = "sluice-ca";

/// How often the Secret is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// How often a replica tries when others write at the same time.
const TRIES: usize = 10;

/// The authority. Every replica of the controller has the same.
pub struct Authority {
    secrets: Api<Secret>,
    namespace: String,
    serving: Arc<ServingCertificate>,
    bundle: watch::Sender<String>,
    kept: Kept,
    signed: SystemTime,
}

impl Authority {
    /// Reads the Secret of the controller's namespace, or makes it when there is none. `names` are the DNS names of the
    /// controller's Service.
    ///
    /// # Errors
    /// When the API server does not answer, or the Secret holds no authority: it is not replaced unasked, since data
    /// planes trust what it held.
    pub async fn load(client: Client, namespace: &str, names: Vec<String>) -> Result<Self> {
        let secrets = Api::namespaced(client, namespace);
        let now = SystemTime::now();
        let kept = settle(&secrets, namespace, now).await?;
        let serving = Arc::new(ServingCertificate::new(&kept.current, names, now)?);
        let bundle = watch::Sender::new(kept.bundle());
        Ok(Self { secrets, namespace: namespace.to_owned(), serving, bundle, kept, signed: now })
    }

    /// What data planes are to trust, as PEM: for the ConfigMap of each Gateway's namespace.
    pub fn bundle(&self) -> watch::Receiver<String> {
        self.bundle.subscribe()
    }

    /// The certificate of this replica.
    pub fn serving(&self) -> Arc<ServingCertificate> {
        self.serving.clone()
    }

    /// Keeps authority and certificate up to date until `stop`. What fails is told and tried again; certificates are
    /// renewed so early that days may pass.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if let Err(error) = self.look(SystemTime::now()).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the certificate authority can't be kept up to date"
                );
            }
        }
    }

    async fn look(&mut self, now: SystemTime) -> Result<()> {
        // Whatever becomes of the Secret, the own certificate must not end.
        if now.duration_since(self.signed).unwrap_or_default() > LEAF_LIFE / 2 {
            self.serving.renew(&self.kept.current, now)?;
            self.signed = now;
        }
        let kept = settle(&self.secrets, &self.namespace, now).await?;
        if kept.current != self.kept.current {
            tracing::info!("another certificate authority signs from now on");
            self.serving.renew(&kept.current, now)?;
            self.signed = now;
        }
        self.bundle.send_if_modified(|bundle| {
            let new = kept.bundle();
            let changed = *bundle != new;
            *bundle = new;
            changed
        });
        self.kept = kept;
        Ok(())
    }
}

/// Reads the Secret and brings it to where it must be; who writes at the same time wins, and is read again.
async fn settle(secrets: &Api<Secret>, namespace: &str, now: SystemTime) -> Result<Kept> {
    let named = || format!("Secret {namespace}/{SECRET}");
    for _ in 0..TRIES {
        let Some(secret) = secrets.get_opt(SECRET).await.with_context(named)? else {
            let kept = Kept::generate(now)?;
            match secrets.create(&PostParams::default(), &object(namespace, &kept, None)).await {
                Ok(_) => {
                    tracing::info!(secret = named(), "a certificate authority is made");
                    return Ok(kept);
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => continue,
                Err(error) => return Err(error).with_context(named),
            }
        };
        let kept = Kept::from_data(&secret.data.unwrap_or_default()).with_context(|| {
            format!("{} holds no usable authority; delete it to have a new one made", named())
        })?;
        let Some(next) = kept.advanced(now)? else { return Ok(kept) };
        let object = object(namespace, &next, secret.metadata.resource_version);
        match secrets.replace(SECRET, &PostParams::default(), &object).await {
            Ok(_) => tracing::info!(secret = named(), "the certificate authority is renewed"),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(error).with_context(named),
        }
    }
    bail!("{} changes all the time", named())
}

fn object(namespace: &str, kept: &Kept, version: Option<String>) -> Secret {
    let label = ("app.kubernetes.io/managed-by".to_owned(), "sluice-controller".to_owned());
    Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([label])),
            resource_version: version,
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(kept.to_data()),
        ..Secret::default()
    }
}

//! The authority of this installation: read from its Secret, made if there is none, kept up to date.

use super::kept::Kept;
use super::root::{CONTROLLER, LEAF_LIFE};
use super::serving::ServingCertificate;
use super::store::{Step, Store};
use anyhow::{Context as _, Result};
use kube::Client;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Secret.
pub const SECRET: &str = "sluice-ca";

/// How often the Secret is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// The authority. Every replica of the controller has the same.
pub struct Authority {
    store: Store,
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
        let store = Store::new(client, namespace, SECRET);
        let now = SystemTime::now();
        let kept = settle(&store, now).await?;
        let serving = Arc::new(ServingCertificate::new(&kept.current, names, now)?);
        let bundle = watch::Sender::new(kept.bundle());
        Ok(Self { store, serving, bundle, kept, signed: now })
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
        let kept = settle(&self.store, now).await?;
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

/// Reads the Secret and brings it to where it must be.
async fn settle(store: &Store, now: SystemTime) -> Result<Kept> {
    let next = |data: Option<&_>| {
        let Some(data) = data else { return Ok(Step::Write(Kept::generate(&CONTROLLER, now)?.to_data())) };
        let kept = Kept::from_data(data)
            .context("it holds no usable authority; delete it to have a new one made")?;
        let next = kept.advanced(&CONTROLLER, now)?;
        Ok(next.map_or_else(|| Step::Settled(kept), |next| Step::Write(next.to_data())))
    };
    store.settle(next).await
}

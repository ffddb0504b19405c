//! The task that keeps an identity fresh.

use super::own::Identity;
use crate::sync::{Backoff, read, token};
use anyhow::{Context as _, Result, bail};
use http::Uri;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use sluice_xds::connect::Connection;
use sluice_xds::identity::{CertificateRequest, create_certificate};
use sluice_xds::svid::Roots;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Time for the authority to answer: it may wait for the API server.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(150);
/// Longest pause while there is no valid certificate.
const LONGEST_PAUSE_WITHOUT: Duration = Duration::from_secs(10);
/// A certificate is renewed when half of its life is over, so much earlier or later, in percent of its life.
const JITTER_PERCENT: f64 = 5.0;
/// How often the file of roots is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// New roots are fetched within this time, spread so that not all come at once.
const ROOTS_SPREAD: Duration = Duration::from_secs(10);
/// How often roots are fetched again that an authority did not name yet: replicas of the controller differ for moments.
const MOST_REPEATED: u32 = 5;

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    /// `https://HOST:PORT`.
    pub controller: Uri,
    /// The name in the controller's certificate; `None`: the host of its address.
    pub server_name: Option<String>,
    /// Holds the token of this data plane's service account. It need not be readable once there is a certificate, which
    /// renews itself while nobody can check tokens.
    pub token_file: PathBuf,
    /// Holds the certificates of the authorities that may vouch for the controller (PEM).
    pub ca_file: PathBuf,
    /// Holds the mesh's roots. They are not taken from here: a change of this file is a hint to ask anew.
    pub roots_file: Option<PathBuf>,
    /// How long certificates are to be valid.
    pub validity: Duration,
}

/// Keeps an identity fresh.
pub struct IdentityClient {
    options: IdentityOptions,
    current: watch::Sender<Option<Arc<Identity>>>,
    /// What the file of roots held at the last request.
    seen_roots: Option<Vec<u8>>,
    /// Requests since then whose answer lacked one of them.
    repeated: u32,
}

impl IdentityClient {
    /// Asks nobody before [`IdentityClient::run`]. The receiver holds the newest identity; the one that it holds may have
    /// ended, when nobody could be asked for too long.
    pub fn new(options: IdentityOptions) -> (Self, watch::Receiver<Option<Arc<Identity>>>) {
        let (current, receiver) = watch::channel(None);
        (Self { options, current, seen_roots: None, repeated: 0 }, receiver)
    }

    /// Runs until `stop`. Whatever happens to the controller, the identity stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = self.ask() => asked,
            };
            let pause = match asked {
                Ok(identity) => {
                    backoff.reset();
                    let pause = self.until_renewal(&identity, SystemTime::now());
                    tracing::info!(id = %identity.id, renewal_in = ?pause, "the identity is fresh");
                    self.current.send_replace(Some(Arc::new(identity)));
                    pause
                }
                Err(error) => self.failed(&error, &mut backoff),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.rest(pause) => {}
            }
        }
    }

    fn failed(&self, error: &anyhow::Error, backoff: &mut Backoff) -> Duration {
        let reason = format!("{error:#}");
        let current = self.current.borrow().clone();
        if current.as_ref().is_some_and(|it| it.is_valid(SystemTime::now())) {
            let pause = backoff.next();
            tracing::warn!(reason, ?pause, "the identity could not be renewed yet; it is still valid");
            return pause;
        }
        let pause = backoff.next().min(LONGEST_PAUSE_WITHOUT);
        match current {
            Some(_) => {
                tracing::error!(reason, ?pause, "the identity has ended: peers of the mesh don't believe it")
            }
            None => tracing::warn!(reason, ?pause, "there is no identity of the mesh yet"),
        }
        pause
    }

    /// Waits; ends soon after the file of roots has changed.
    async fn rest(&self, pause: Duration) {
        let due = Instant::now() + pause;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
            tokio::time::sleep(left.min(LOOK_INTERVAL)).await;
            if self.roots().await.is_some_and(|roots| self.seen_roots.as_ref() != Some(&roots)) {
                tracing::info!("the mesh has other roots; they are fetched");
                tokio::time::sleep(ROOTS_SPREAD.mul_f64(random()).min(left)).await;
                return;
            }
        }
    }

    /// Half of what is left of the certificate, a little more or less; soon, when the answer lacks roots of the file.
    fn until_renewal(&mut self, identity: &Identity, now: SystemTime) -> Duration {
        let left = identity.not_after.duration_since(now).unwrap_or_default();
        let half = left.mul_f64(0.5 + (random() - 0.5) * 2.0 * JITTER_PERCENT / 100.0);
        let file = self.seen_roots.as_deref().and_then(|pem| Roots::from_pem(pem).ok());
        let lacks = |roots: Roots| {
            roots.certificates().any(|it| !identity.roots.certificates().any(|known| known == it))
        };
        if file.is_some_and(lacks) && self.repeated < MOST_REPEATED {
            self.repeated += 1;
            return half.min(ROOTS_SPREAD.mul_f64(0.5 + random()));
        }
        half
    }

    /// What the file of roots holds; `None`: there is none, or it can't be read now.
    async fn roots(&self) -> Option<Vec<u8>> {
        read(self.options.roots_file.as_ref()?).await.ok()
    }

    async fn ask(&mut self) -> Result<Identity> {
        // Before the request: what changes meanwhile is seen later.
        let roots = self.roots().await;
        if roots.is_some() && roots != self.seen_roots {
            (self.seen_roots, self.repeated) = (roots, 0);
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.pem()?;
        let authorities = read(&self.options.ca_file).await?;
        let token = token(&self.options.token_file).await;
        let known = self.current.borrow().clone().filter(|it| it.is_valid(SystemTime::now()));
        let certificate = known.map(|it| it.certified.clone());
        let token = match token {
            Ok(token) => Some(token),
            Err(_) if certificate.is_some() => None,
            Err(error) => return Err(error),
        };
        let name = self.options.server_name.as_deref();
        let connection =
            Connection::open_as(&self.options.controller, name, &authorities, certificate).await?;
        let validity_duration = i64::try_from(self.options.validity.as_secs()).unwrap_or(i64::MAX);
        let request = CertificateRequest { csr, validity_duration, metadata: None };
        let answer = create_certificate(connection.service(), token.as_deref(), request);
        let answer = tokio::time::timeout(ANSWER_TIME, answer).await;
        let answer = answer.context("the authority does not answer")?;
        let mut chain = match answer {
            Ok(answer) => answer.cert_chain,
            Err(status) => bail!("the authority refuses: {} ({:?})", status.message(), status.code()),
        };
        let roots = chain.pop().unwrap_or_default();
        Ok(Identity::from_pem(&chain.join("\n"), &key.serialize_pem(), &roots, SystemTime::now())?)
    }
}

/// From 0 to 1; the keys of a hasher are random.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}

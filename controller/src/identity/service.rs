//! The calls by which workloads get their certificates: who asks, how often, for how long; the identity is the caller's and
//! never the request's.

use super::authority::{Authority, Current};
use super::{csr, pem};
use crate::admin::Metrics;
use crate::serve::{Authenticator, PeerChain, bearer, owner};
use rustls_pki_types::UnixTime;
use sluice_ir::SpiffeId;
use sluice_rate::{KeySeed, Limiter, Quota};
use sluice_xds::identity::{CertificateRequest, CertificateResponse, Creating, Issuing};
use sluice_xds::svid::Usage;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

/// Life of a certificate whose request says nothing.
const USUAL_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Calls at a time, of all workloads together; a call waits for the API server at most.
const CALLS: usize = 256;
/// Calls of one pod (or of one service account that comes with a certificate): this many in so long, and at once.
const OFTEN: (u32, Duration, u32) = (12, Duration::from_secs(60), 20);
/// Callers that are counted.
const CALLERS: usize = 65_536;
/// By which Istio's node agents ask for somebody else's certificate.
const IMPERSONATED: &str = "ImpersonatedIdentity";

/// What issues certificates.
pub struct Issuer {
    authority: Current,
    metrics: Arc<Metrics>,
    /// The longest life of a certificate.
    longest: Duration,
    calls: Semaphore,
    often: Limiter,
    seed: KeySeed,
    started: Instant,
}

/// Who asks.
struct Caller {
    namespace: String,
    service_account: String,
    /// What its calls are counted by.
    pod: Option<String>,
    by: &'static str,
}

/// Why nothing was issued: a word for metrics, and the answer.
struct Refusal(&'static str, Status);

impl Issuer {
    /// Signs by `authority`, for at most `longest`.
    pub fn new(authority: Current, longest: Duration, metrics: Arc<Metrics>) -> Self {
        let (count, per, burst) = OFTEN;
        Self {
            authority,
            metrics,
            longest,
            calls: Semaphore::new(CALLS),
            often: Limiter::new(Quota::new(count, per, burst), CALLERS),
            seed: KeySeed::default(),
            started: Instant::now(),
        }
    }

    async fn answer(
        &self,
        authenticator: &dyn Authenticator,
        request: Request<CertificateRequest>,
    ) -> Result<CertificateResponse, Refusal> {
        let _permit = self.calls.try_acquire().map_err(|_| {
            Refusal("busy", Status::unavailable("too many certificates are being asked for; try again"))
        })?;
        let authority = self.authority.borrow().clone().ok_or_else(|| {
            let why = "there is no authority for workloads now; the controller's log says why";
            Refusal("no_authority", Status::unavailable(why))
        })?;
        let caller = self.caller(authenticator, &authority, &request).await?;
        self.count(&caller)?;
        let request = request.into_inner();
        if request.metadata.is_some_and(|it| it.fields.contains_key(IMPERSONATED)) {
            let why = "a workload gets its own certificate only; ImpersonatedIdentity is not supported";
            return Err(Refusal("impersonation", Status::permission_denied(why)));
        }
        let key = csr::read(&request.csr)
            .map_err(|error| Refusal("request", Status::invalid_argument(error.to_string())))?;
        let life = self.life(request.validity_duration)?;
        let now = SystemTime::now();
        let failed = |error: &dyn std::fmt::Display| Refusal("failed", Status::internal(error.to_string()));
        let id = SpiffeId::new(&authority.domains.own, &caller.namespace, &caller.service_account)
            .map_err(|error| failed(&error))?;
        let certificate = authority.signer.sign(&id, &key, life, now).map_err(|error| failed(&error))?;
        self.metrics.certificate_issued(caller.by);
        tracing::debug!(%id, by = caller.by, pod = caller.pod, ?life, "a certificate is issued");
        let mut cert_chain = vec![certificate.pem];
        cert_chain.extend(authority.signer.chain().iter().map(|it: &pem::Certificate| it.pem.clone()));
        cert_chain.push(authority.bundle.clone());
        Ok(CertificateResponse { cert_chain })
    }

    /// By the token, as long as somebody can say whose it is; else by the certificate of the connection. A token that is
    /// known to be bad is never made good by a certificate: its account may be gone.
    async fn caller(
        &self,
        authenticator: &dyn Authenticator,
        authority: &Authority,
        request: &Request<CertificateRequest>,
    ) -> Result<Caller, Refusal> {
        let by_token = match bearer(request.metadata()) {
            Ok(token) => owner(authenticator, &token).await,
            Err(missing) => Err(missing),
        };
        let refused = match by_token {
            Ok(known) => {
                return Ok(Caller {
                    namespace: known.namespace,
                    service_account: known.service_account,
                    pod: known.pod,
                    by: "token",
                });
            }
            Err(refused) => refused,
        };
        let is_bad = request.metadata().contains_key("authorization") && refused.code() != Code::Unavailable;
        let chain = request.extensions().get::<PeerChain>().filter(|it| !is_bad && !it.0.is_empty());
        let Some(chain) = chain else {
            let word = if refused.code() == Code::Unavailable { "unavailable" } else { "unauthenticated" };
            return Err(Refusal(word, refused));
        };
        let bad = |why: String| {
            let why = format!("the client certificate is not one of this mesh: {why}");
            Refusal("unauthenticated", Status::unauthenticated(why))
        };
        let known = authority.roots.verify(&chain.0, Usage::Client, UnixTime::now());
        let id = known.map_err(|error| bad(error.to_string()))?;
        if !authority.domains.has(id.trust_domain()) {
            return Err(bad(format!("its trust domain is {}", id.trust_domain())));
        }
        Ok(Caller {
            namespace: id.namespace().to_owned(),
            service_account: id.service_account().to_owned(),
            pod: None,
            by: "certificate",
        })
    }

    fn count(&self, caller: &Caller) -> Result<(), Refusal> {
        let mut key = self.seed.key();
        for part in [Some(&caller.namespace), Some(&caller.service_account), caller.pod.as_ref()] {
            key.text(part.map(|it| it.as_bytes()));
        }
        let now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if self.often.check(key.finish(), now_ns).is_allowed {
            return Ok(());
        }
        let why = "this workload asks for certificates too often";
        Err(Refusal("rate", Status::resource_exhausted(why)))
    }

    fn life(&self, asked_s: i64) -> Result<Duration, Refusal> {
        match u64::try_from(asked_s) {
            Ok(0) => Ok(USUAL_LIFE.min(self.longest)),
            Ok(seconds) => Ok(Duration::from_secs(seconds).min(self.longest)),
            Err(_) => Err(Refusal(
                "request",
                Status::invalid_argument("a certificate can't be valid for less than nothing"),
            )),
        }
    }
}

/// The service: what issues, and what knows whose a token is.
pub(crate) struct Service {
    pub(crate) issuer: Option<Arc<Issuer>>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
}

impl Issuing for Service {
    fn create(self: Arc<Self>, request: Request<CertificateRequest>) -> Creating {
        Box::pin(async move {
            let issuer = self
                .issuer
                .as_ref()
                .ok_or_else(|| Status::unimplemented("this controller is no authority of workloads"))?;
            match issuer.answer(&*self.authenticator, request).await {
                Ok(response) => Ok(Response::new(response)),
                Err(Refusal(reason, status)) => {
                    issuer.metrics.certificate_refused(reason);
                    tracing::debug!(reason, status = status.message(), "no certificate is issued");
                    Err(status)
                }
            }
        })
    }
}

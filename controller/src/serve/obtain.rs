//! Names of handshakes: a data plane asks for its own Gateway; the replica that leads has the engine, the others pass the
//! question on to it.

use super::auth::{Authenticator, caller};
use super::peers::{PeerIdentity, is};
use super::{Distributor, ProxyIdentity, limits};
use crate::acme::{NoCertificate, Offers};
use parking_lot::Mutex;
use sluice_acme::{Handle, Refused};
use sluice_ir::GatewayKey;
use sluice_xds::connect::Service;
use sluice_xds::obtain::{Certificates, ObtainRequest, ObtainResponse, Obtaining, obtain};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

/// What answers names of handshakes; a clone is the same.
#[derive(Clone)]
pub struct Names {
    /// Which listeners take which.
    offers: watch::Receiver<Arc<Offers>>,
    /// The engine, while this replica leads.
    engine: watch::Receiver<Option<Handle>>,
    /// The other replicas.
    others: Others,
    questions: Arc<Semaphore>,
}

/// Connections to the other replicas; a clone is the same.
#[derive(Clone, Default)]
pub struct Others(Arc<Mutex<BTreeMap<String, Service>>>);

impl Others {
    /// Notes or forgets the connection to a replica.
    pub(super) fn set(&self, replica: &str, service: Option<Service>) {
        match service {
            Some(service) => self.0.lock().insert(replica.to_owned(), service),
            None => self.0.lock().remove(replica),
        };
    }

    fn all(&self) -> Vec<Service> {
        self.0.lock().values().cloned().collect()
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.lock().keys()).finish()
    }
}

impl Names {
    /// Answers as these say.
    pub fn new(
        offers: watch::Receiver<Arc<Offers>>,
        engine: watch::Receiver<Option<Handle>>,
        others: Others,
    ) -> Self {
        Self { offers, engine, others, questions: Arc::new(Semaphore::new(limits::QUESTIONS)) }
    }

    /// By the engine of this replica; `None` when it does not lead.
    async fn here(&self, request: &ObtainRequest) -> Option<Result<(), Status>> {
        let engine = self.engine.borrow().clone()?;
        let offers = self.offers.borrow().clone();
        let gateway = GatewayKey::new(request.gateway.clone());
        Some(offers.obtain(&engine, &gateway, &request.name).await.map_err(|none| status(&none)))
    }

    /// By the replica that leads: whoever else is there says that it does not.
    async fn elsewhere(&self, request: &ObtainRequest, token_file: &PathBuf) -> Result<(), Status> {
        let unavailable =
            || Status::unavailable("no replica that leads is known; the name is to be asked for again");
        let token = tokio::fs::read_to_string(token_file).await.map_err(|_| unavailable())?;
        let mut last = unavailable();
        for service in self.others.all() {
            let request = ObtainRequest { passed_on: true, ..request.clone() };
            match obtain(service, token.trim(), request).await {
                Err(status) if status.code() == Code::Unavailable => last = status,
                answer => return answer,
            }
        }
        Err(last)
    }
}

/// The service.
pub(super) struct Answers {
    pub(super) distributor: Distributor,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) names: Option<Names>,
    /// Who the other replicas are.
    pub(super) peers: Option<PeerIdentity>,
    /// Holds the token of this replica.
    pub(super) token_file: PathBuf,
}

impl Certificates for Answers {
    fn obtain(self: Arc<Self>, request: Request<ObtainRequest>) -> Obtaining {
        Box::pin(async move {
            let known = caller(&*self.authenticator, request.metadata()).await?;
            let request = request.into_inner();
            self.admit(&request, &known)?;
            let names =
                self.names.as_ref().ok_or_else(|| Status::unimplemented("nobody orders certificates"))?;
            let _permit = names
                .questions
                .try_acquire()
                .map_err(|_| Status::unavailable("too many names are being asked for"))?;
            let answer = timeout(limits::OBTAIN_TIME, self.ask(names, &request)).await;
            answer.map_err(|_| Status::deadline_exceeded("the certificate is not there yet"))??;
            Ok(Response::new(ObtainResponse {}))
        })
    }
}

impl Answers {
    /// A data plane asks for its own Gateway, a replica for any.
    fn admit(&self, request: &ObtainRequest, known: &ProxyIdentity) -> Result<(), Status> {
        let is_peer = self.peers.as_ref().is_some_and(|peer| is(peer, known));
        if request.passed_on {
            let refused = || Status::permission_denied("only replicas of the controller may pass names on");
            return is_peer.then_some(()).ok_or_else(refused);
        }
        let gateway = GatewayKey::new(request.gateway.clone());
        Ok(self.distributor.admit(&gateway, known)?)
    }

    async fn ask(&self, names: &Names, request: &ObtainRequest) -> Result<(), Status> {
        match names.here(request).await {
            Some(answer) => answer,
            None if request.passed_on => Err(Status::unavailable("this replica does not lead")),
            None => names.elsewhere(request, &self.token_file).await,
        }
    }
}

fn status(none: &NoCertificate) -> Status {
    let code = match none {
        NoCertificate::Unknown(_) => Code::Unavailable,
        NoCertificate::Refused(Refused::Name(_)) => Code::InvalidArgument,
        NoCertificate::Refused(Refused::Quota(_)) => Code::ResourceExhausted,
        NoCertificate::Refused(Refused::Failed(_)) => Code::FailedPrecondition,
        NoCertificate::Refused(_) => Code::PermissionDenied,
    };
    Status::new(code, none.to_string())
}

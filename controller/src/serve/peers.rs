//! Replicas of the controller tell each other how the data planes connected to them stand, so that the one that writes
//! statuses knows of all.

use super::ProxyIdentity;
use super::auth::{Authenticator, caller};
use super::{Distributor, limits};
use sluice_xds::peers::{Peers, State, WatchRequest};
use sluice_xds::server::{Answer, Responses};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Least time between two answers.
const PAUSE: Duration = Duration::from_millis(20);

/// The service account that all replicas of the controller share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service_account: String,
}

/// Answers other replicas.
pub(super) struct Answers {
    pub(super) distributor: Distributor,
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) replica: String,
    pub(super) identity: Option<PeerIdentity>,
    pub(super) stop: CancellationToken,
}

impl Peers for Answers {
    fn watch(self: Arc<Self>, request: Request<WatchRequest>) -> Answer<State> {
        Box::pin(async move {
            let known = caller(&*self.authenticator, request.metadata()).await?;
            if !self.identity.as_ref().is_some_and(|peer| is(peer, &known)) {
                return Err(Status::permission_denied("only replicas of the controller may ask"));
            }
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(self.tell(sender));
            let responses: Responses<_> = Box::pin(ReceiverStream::new(receiver));
            Ok(Response::new(responses))
        })
    }
}

/// Whether it is a replica of the controller.
pub(super) fn is(peer: &PeerIdentity, identity: &ProxyIdentity) -> bool {
    peer.namespace == identity.namespace && peer.service_account == identity.service_account
}

impl Answers {
    /// The state, again whenever it is another.
    async fn tell(self: Arc<Self>, sender: mpsc::Sender<Result<State, Status>>) {
        let mut changes = self.distributor.told();
        let mut last = None;
        loop {
            changes.borrow_and_update();
            let told = self.distributor.own();
            if last.as_ref() != Some(&told) {
                let proxies = match serde_json::to_vec(&told) {
                    Ok(proxies) => proxies.into(),
                    Err(error) => {
                        tracing::error!(%error, "the state of the data planes can't be written");
                        return;
                    }
                };
                last = Some(told);
                let state = State { replica: self.replica.clone(), proxies };
                if !matches!(timeout(limits::SEND_TIME, sender.send(Ok(state))).await, Ok(Ok(()))) {
                    return;
                }
            }
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(PAUSE).await,
                () = sender.closed() => return,
                () = self.stop.cancelled() => return,
            }
        }
    }
}

//! The way to a running engine.

use super::board::{Board, Issuers, Statuses};
use crate::{CertificateKey, IssuerName, Scope, State, Status};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Shows what an engine knows, and asks it for names of handshakes. Cheap to clone; outlives the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    board: Arc<Board>,
    asks: mpsc::Sender<Ask>,
}

/// A name of a handshake.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) key: CertificateKey,
    pub(super) issuer: IssuerName,
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) reply: oneshot::Sender<Result<Seen, Refused>>,
}

/// Shows the status of one certificate; ends with its task.
pub(super) type Seen = watch::Receiver<Option<Arc<Status>>>;

/// Why a name of a handshake gets no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The issuer does not exist or has no `on_demand`.
    #[error("issuer {0} takes no names on demand")]
    Issuer(IssuerName),
    /// No name that could have a certificate.
    #[error("{0}")]
    Name(String),
    /// The allow endpoint said no, or did not answer.
    #[error("{0}")]
    NotAllowed(String),
    /// A limit is used up.
    #[error("{0}")]
    Quota(String),
    /// The order failed, now or a moment ago.
    #[error("{0}")]
    Failed(String),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

impl Handle {
    pub(super) fn new(board: Arc<Board>, asks: mpsc::Sender<Ask>) -> Self {
        Self { board, asks }
    }

    /// Status of each wanted certificate. When `current.fingerprint` changes there is a new certificate in the store.
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.board.statuses()
    }

    /// State of each issuer.
    pub fn issuers(&self) -> watch::Receiver<Issuers> {
        self.board.issuers()
    }

    /// Asks for a certificate of one name, kept under `key`: returns when it is in the store. Many may ask for the same
    /// at one time. A name that was refused a moment ago is refused at once. Dropping the future lets the order go on.
    ///
    /// # Errors
    /// When it may not be made, or could not.
    pub async fn on_demand(
        &self,
        key: CertificateKey,
        issuer: IssuerName,
        name: String,
        scope: Scope,
    ) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { key, issuer, name, scope, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Quota("too many handshakes wait".to_owned()),
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })?;
        wait(answer.await.map_err(|_| Refused::Stopped)??).await
    }
}

/// Until there is a certificate, or there will be none soon.
async fn wait(mut seen: Seen) -> Result<(), Refused> {
    loop {
        if let Some(outcome) = seen.borrow_and_update().as_deref().and_then(outcome) {
            return outcome;
        }
        seen.changed().await.map_err(|_| Refused::Stopped)?;
    }
}

/// How it ended for who waits, if it did.
pub(super) fn outcome(status: &Status) -> Option<Result<(), Refused>> {
    if status.current.is_some() {
        return Some(Ok(()));
    }
    match &status.state {
        State::Valid { .. } | State::Waiting { until: None, .. } => None,
        State::Waiting { reason: crate::Reason::Quota, message, .. } => {
            Some(Err(Refused::Quota(message.clone())))
        }
        State::Waiting { message, .. } | State::Failed { message, .. } => {
            Some(Err(Refused::Failed(message.clone())))
        }
    }
}

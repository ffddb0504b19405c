//! What the reconciler takes in, all on one bounded channel, so that one place sees everything in order.

use crate::staple::News;
use crate::watch::Arrival;
use sluice_crds::ObjectRef;
use sluice_ir::Challenge;
use sluice_translate::{Infrastructure, Issuance};
use tokio::sync::oneshot;

/// Events that wait for the reconciler; watches pause above. Objects are large, so that this bounds memory at start.
pub const QUEUE: usize = 512;

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// A watch tells of an object.
    Arrival(Arrival),
    /// The release of the Gateway API whose CRDs are installed; `None`: they don't say.
    Release(Option<String>),
    /// The provisioner tells of a Gateway's addresses.
    Infrastructure(ObjectRef, Infrastructure),
    /// Data planes came, went, acknowledged or refused: ask how they stand.
    SyncChanged,
    /// The secrets for session tickets are others.
    TicketsChanged,
    /// Certificates have other OCSP responses, or have none for another reason.
    Staples(News),
    /// This replica began or ceased to lead, perhaps several times since the last word.
    Leader(bool),
    /// All challenges that data planes are to answer.
    Challenges(Vec<Challenge>),
    /// What came of orders, on the replica that leads.
    Issuance(Issuance),
    /// Someone wants to see.
    Ask(Question),
}

/// What can be asked. Answers are JSON.
#[derive(Debug)]
pub enum Question {
    /// The configuration; secrets as fingerprints.
    Snapshot(oneshot::Sender<String>),
    /// Everything that someone should know about objects.
    Problems(oneshot::Sender<String>),
}

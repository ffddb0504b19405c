//! Provisioning (GEP-1762): for each Gateway of ours, in its namespace, what it runs on.
//!
//! Comes in: plans of the translation, whether this replica leads, and what the API server tells of the objects that
//! were made. Goes out: applies and deletes, only of what differs, and the facts that Gateways' statuses are made of:
//! their addresses, or why there is none. Every replica tells facts; only the one that leads writes.
//!
//! The way through: `objects` makes from a plan the objects as they should be; `live` holds them as they are; `steps`
//! says what differs; `requests` does it; `addresses` reads the facts; `worker` is the loop around them. What a Gateway
//! that is gone leaves behind is the cluster's garbage collector's: everything belongs to its Gateway.

mod addresses;
mod compare;
mod kinds;
mod live;
mod objects;
pub(crate) mod overlay;
mod requests;
mod steps;
mod watches;
mod worker;

pub use kinds::OwnedKind;
pub use objects::{Common, Desired, desired};
pub use worker::Worker;

use kube::Client;
use parking_lot::Mutex;
use sluice_crds::ObjectRef;
use sluice_translate::{GatewayPlan, Infrastructure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc, watch};

/// Facts that wait for the reconciler; the worker waits above.
const FACTS: usize = 256;

/// What provisioning needs to know of the installation.
#[derive(Clone, Debug)]
pub struct ProvisionOptions {
    /// Image of data planes whose parameters name none.
    pub image: String,
    /// Where data planes find the controller: `https://sluice-controller.sluice-system.svc:15010`.
    pub controller: String,
    /// PEM of the authority that vouches for the controller. Nothing is made while it is empty.
    pub ca: watch::Receiver<String>,
    /// Whether this replica leads.
    pub is_leader: watch::Receiver<bool>,
}

/// Takes plans. Cheap to clone; never blocks.
#[derive(Clone, Debug)]
pub struct Provisioner {
    inbox: Arc<Inbox>,
}

/// Plans that the worker has not taken yet: of each Gateway the newest.
#[derive(Debug, Default)]
struct Inbox {
    plans: Mutex<BTreeMap<ObjectRef, Option<Box<GatewayPlan>>>>,
    is_complete: AtomicBool,
    arrived: Notify,
}

impl Provisioner {
    /// A provisioner, the worker that does what it says (run it), and the facts that come of it: for a Gateway whatever
    /// is known of its addresses, each time that differs. `programmed` is always false: what data planes acknowledge
    /// is not known here.
    pub fn new(
        client: Client,
        options: ProvisionOptions,
    ) -> (Self, Worker, mpsc::Receiver<(ObjectRef, Infrastructure)>) {
        let inbox = Arc::new(Inbox::default());
        let (facts, told) = mpsc::channel(FACTS);
        let worker = Worker::new(client, options, inbox.clone(), facts);
        (Self { inbox }, worker, told)
    }

    /// What a Gateway needs; `None`: it is gone or not ours.
    pub fn want(&self, gateway: ObjectRef, plan: Option<GatewayPlan>) {
        self.inbox.plans.lock().insert(gateway, plan.map(Box::new));
        self.inbox.arrived.notify_one();
    }

    /// Every Gateway was named once: what was made for others may be looked at.
    pub fn set_complete(&self) {
        self.inbox.is_complete.store(true, Ordering::Release);
        self.inbox.arrived.notify_one();
    }
}

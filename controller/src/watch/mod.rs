//! Watches: one for each kind that the API server serves, at the best version that it serves.
//!
//! In: a client. Out: [`Arrival`]s on the reconciler's channel. Optional kinds may be missing; a CRD that is installed
//! later is picked up within moments, one that is removed takes its objects along. Watches never give up and never
//! stop on an object that can't be read.
//!
//! Every kind is a plain watch whose objects are trimmed and read into our own terms one at a time; no copy of a raw
//! object stays. Secrets of types that never hold certificates are not asked for. Of the others and of ConfigMaps only
//! certificates, keys and authorities are kept: a watch of names with a read on demand would save the transfer, but would
//! show references as broken for the moment between the two, in statuses and in traffic.

mod arrival;
mod definitions;
mod discovery;
mod failure;
mod lines;
mod source;
mod watcher;

pub use arrival::{Arrival, has_status};
pub(crate) use failure::Failure;
pub use source::Source;

use crate::admin::Metrics;
use crate::backoff::Backoff;
use crate::reconcile::Input;
use discovery::Presence;
use kube::Client;
use parking_lot::RwLock;
use sluice_crds::{Kind, ObjectRef};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watcher::{Tools, Watcher};

/// How often the server is asked again what it serves when nothing hints at a change.
const CALM: Duration = Duration::from_secs(30);
/// The same while a CRD is changing, and at first while an answer is unsure.
const BUSY: Duration = Duration::from_millis(300);
/// The same while answers stay unsure.
const UNSURE: Duration = Duration::from_secs(5);
/// How long a change of a CRD counts as going on: the server serves it a little later.
const SETTLE: Duration = Duration::from_secs(10);

/// Which kinds are served, and where: shared with those who write.
#[derive(Clone, Default)]
pub struct Served(Arc<RwLock<BTreeMap<Kind, Source>>>);

impl Served {
    /// Where objects of `kind` are; `None` while the server has no such kind.
    pub fn source(&self, kind: Kind) -> Option<Source> {
        self.0.read().get(&kind).cloned()
    }

    fn set(&self, kind: Kind, source: Option<Source>) {
        match source {
            Some(source) => drop(self.0.write().insert(kind, source)),
            None => drop(self.0.write().remove(&kind)),
        }
    }
}

/// The watch of a kind that runs.
struct Running {
    source: Source,
    stop: CancellationToken,
    task: JoinHandle<HashSet<ObjectRef>>,
}

/// Runs all watches until `stop`.
pub async fn run(
    client: Client,
    sink: mpsc::Sender<Input>,
    metrics: Arc<Metrics>,
    served: Served,
    stop: CancellationToken,
) {
    let (unserved, defined) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let definitions =
        tokio::spawn(definitions::watch(client.clone(), sink.clone(), defined.clone(), stop.clone()));
    let tools = Tools { client, sink, metrics, unserved: unserved.clone() };
    let mut manager = Manager { tools, served, running: BTreeMap::new(), told: HashSet::new() };
    let mut busy_until = Instant::now();
    let mut unsure = Backoff::new(BUSY, UNSURE);
    loop {
        let is_sure = tokio::select! {
            () = stop.cancelled() => break,
            is_sure = manager.look() => is_sure,
        };
        let pause = match is_sure {
            _ if Instant::now() < busy_until => BUSY,
            true => CALM,
            false => unsure.pause(rand::random()),
        };
        if is_sure {
            unsure.reset();
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            () = defined.notified() => busy_until = Instant::now() + SETTLE,
            () = unserved.notified() => {}
        }
    }
    for (_, running) in std::mem::take(&mut manager.running) {
        running.stop.cancel();
        let _ = running.task.await;
    }
    let _ = definitions.await;
}

struct Manager {
    tools: Tools,
    served: Served,
    running: BTreeMap<Kind, Running>,
    /// Absent kinds that were told so.
    told: HashSet<Kind>,
}

impl Manager {
    /// Asks what is served and starts and stops watches; whether every answer was sure.
    async fn look(&mut self) -> bool {
        let mut is_sure = true;
        for (kind, presence) in discovery::discover(&self.tools.client).await {
            match presence {
                Presence::Served(source) => self.start(source).await,
                Presence::Absent => self.forget(kind).await,
                Presence::Unsure(failure) => {
                    tracing::debug!(%kind, error = %failure, "the API server does not say whether it serves the kind");
                    is_sure = false;
                }
            }
        }
        is_sure
    }

    async fn start(&mut self, source: Source) {
        let kind = source.kind;
        self.told.remove(&kind);
        if self.running.get(&kind).is_some_and(|it| it.source == source) {
            return;
        }
        let known = self.halt(kind).await;
        tracing::info!(%kind, version = source.version, "watching");
        self.served.set(kind, Some(source.clone()));
        let stop = CancellationToken::new();
        let watcher = Watcher::new(self.tools.clone(), source.clone(), known);
        let task = tokio::spawn(watcher.run(stop.clone()));
        self.running.insert(kind, Running { source, stop, task });
    }

    async fn forget(&mut self, kind: Kind) {
        if !self.told.insert(kind) {
            return;
        }
        let known = self.halt(kind).await;
        self.served.set(kind, None);
        tracing::info!(%kind, "the API server has no such kind; watching begins when its CRD is installed");
        watcher::forget(&self.tools, kind, known).await;
    }

    /// Stops the watch of a kind; gives the objects that it told.
    async fn halt(&mut self, kind: Kind) -> HashSet<ObjectRef> {
        let Some(running) = self.running.remove(&kind) else { return HashSet::new() };
        running.stop.cancel();
        running.task.await.unwrap_or_default()
    }
}

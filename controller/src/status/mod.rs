//! Statuses: writes what the translation says of each object to its status subresource.
//!
//! In: the status that the server has of each object, the status that it should have, and whether this replica holds
//! the lease. Out: one merge patch for each object that differs, built on the version that was seen, so that nothing
//! newer is ever overwritten. What deliberately is not here: what a status says.

mod board;
mod merge;
mod seen;

pub use seen::Seen;

use crate::admin::Metrics;
use crate::backoff::Backoff;
use crate::watch::{Failure, Served};
use board::{Board, FLAP_HOLD, Job, Next, Outcome};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::core::Request;
use kube::core::params::{GetParams, Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sluice_crds::ObjectRef;
use sluice_translate::Status;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Name under which fields are owned (`metadata.managedFields`).
pub(crate) const FIELD_MANAGER: &str = "sluice-controller";
/// How long a Gateway keeps saying that it is programmed while nobody knows: longer than data planes take to return.
const SETTLE_HOLD: Duration = Duration::from_secs(20);
/// Longest time of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The status that an object should have.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The object.
    pub object: ObjectRef,
    /// `None`: nothing of ours.
    pub status: Option<Status>,
    /// The data planes of the Gateway have not reported yet since this replica started: what it says of them is not
    /// known rather than false.
    pub is_settling: bool,
}

/// Takes statuses to write. Clones share one queue.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    board: Mutex<Board>,
    changed: Notify,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// For the statuses of the controller of this name. It writes nothing before [`Writer::set_active`].
    pub fn new(controller: &str, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner { board: Mutex::new(Board::new(controller)), changed: Notify::new(), metrics }))
    }

    /// Notes what the server has of an object.
    pub fn seen(&self, object: &ObjectRef, seen: Seen) {
        self.0.board.lock().seen(object, seen);
    }

    /// Notes that an object is gone.
    pub fn gone(&self, object: &ObjectRef) {
        self.0.board.lock().gone(object);
    }

    /// Every object whose status could be ours.
    pub fn objects(&self) -> Vec<ObjectRef> {
        self.0.board.lock().objects()
    }

    /// Statuses that objects should have. Nothing is written that is there already.
    pub fn want(&self, statuses: impl IntoIterator<Item = Wanted>) {
        let now = Instant::now();
        let mut board = self.0.board.lock();
        for it in statuses {
            let patience = if it.is_settling { SETTLE_HOLD } else { FLAP_HOLD };
            board.want(&it.object, it.status, patience, now);
        }
        self.0.metrics.status_queue(board.len());
        drop(board);
        self.0.changed.notify_one();
    }

    /// Whether statuses are written. What waits is dropped either way, what is under way is given up.
    pub fn set_active(&self, is_active: bool) {
        self.0.board.lock().set_active(is_active);
        self.0.metrics.status_queue(0);
        self.0.changed.notify_one();
    }

    /// Statuses that wait or are being written.
    pub fn waiting(&self) -> usize {
        self.0.board.lock().len()
    }

    fn next(&self) -> Next {
        self.0.board.lock().next(Instant::now(), &now_text())
    }

    /// Starts every write that is due; gives the time of the next.
    fn start_writes(&self, mut start: impl FnMut(Job)) -> Option<Instant> {
        loop {
            match self.next() {
                Next::Write(job) => start(*job),
                Next::Wait(time) => return time,
            }
        }
    }

    fn done(&self, job: Job, outcome: Outcome) {
        let mut board = self.0.board.lock();
        board.done(job, outcome, Instant::now());
        self.0.metrics.status_queue(board.len());
    }

    /// Writes until `stop`. `is_leader` is asked again before each write, and writes under way are given up when it
    /// turns false.
    pub async fn run(
        self,
        client: Client,
        served: Served,
        mut is_leader: tokio::sync::watch::Receiver<bool>,
        stop: CancellationToken,
    ) {
        let pen = Pen { client, served, metrics: self.0.metrics.clone() };
        let mut under_way = FuturesUnordered::new();
        let mut backoff = Backoff::of_api();
        loop {
            let may_write = *is_leader.borrow_and_update();
            if !may_write {
                under_way.clear();
            }
            let until =
                if may_write { self.start_writes(|job| under_way.push(pen.write(job))) } else { None };
            let alarm = async {
                match until {
                    Some(time) => tokio::time::sleep_until(time.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = is_leader.changed() => if changed.is_err() { return },
                Some((job, wrote)) = under_way.next() => {
                    let outcome = match wrote {
                        Wrote::Is(outcome) => { backoff.reset(); outcome }
                        Wrote::Failed => Outcome::Later(backoff.pause(rand::random())),
                    };
                    self.done(job, outcome);
                }
                () = self.0.changed.notified() => {}
                () = alarm => {}
            }
        }
    }
}

/// How a request ended.
enum Wrote {
    Is(Outcome),
    /// The server did not answer, or asked for patience.
    Failed,
}

/// Sends writes.
struct Pen {
    client: Client,
    served: Served,
    metrics: Arc<Metrics>,
}

impl Pen {
    async fn write(&self, job: Job) -> (Job, Wrote) {
        let kind = job.object.kind;
        let Some(source) = self.served.source(kind) else { return (job, Wrote::Is(Outcome::Gone)) };
        let body = json!({"metadata": {"resourceVersion": job.version}, "status": job.patch});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let requests = Request::new(source.collection(&job.object));
        let patch = Patch::Merge(&body);
        let answer = match requests.patch_subresource("status", &job.object.name, &parameters, &patch) {
            Ok(request) => self.send(request).await,
            Err(error) => Err(Failure::Refused(error.to_string())),
        };
        let (wrote, word) = match answer {
            Ok(object) => (Wrote::Is(Outcome::Written(seen(&object))), "written"),
            Err(Failure::NotServed(_)) => (Wrote::Is(Outcome::Gone), "gone"),
            Err(Failure::Answer { code: 409, .. }) => (self.reread(&requests, &job.object).await, "conflict"),
            Err(failure @ (Failure::Refused(_) | Failure::Forbidden(_))) => {
                let next_step = "check the role of the controller and the release of the Gateway API's CRDs";
                tracing::warn!(object = %job.object, error = %failure, next_step, "the status was refused");
                (Wrote::Is(Outcome::Refused), "refused")
            }
            Err(failure) => {
                tracing::debug!(object = %job.object, error = %failure, "the status could not be written yet");
                (Wrote::Failed, "failed")
            }
        };
        self.metrics.status_write(kind, word);
        (job, wrote)
    }

    async fn reread(&self, requests: &Request, object: &ObjectRef) -> Wrote {
        let answer = match requests.get(&object.name, &GetParams::default()) {
            Ok(request) => self.send(request).await,
            Err(error) => Err(Failure::Refused(error.to_string())),
        };
        match answer {
            Ok(now_there) => {
                let generation = now_there.pointer("/metadata/generation").and_then(Value::as_i64);
                Wrote::Is(Outcome::Conflict(seen(&now_there), generation))
            }
            Err(Failure::NotServed(_)) => Wrote::Is(Outcome::Gone),
            Err(_) => Wrote::Failed,
        }
    }

    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Value, Failure> {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.client.request::<Value>(request)).await;
        answer.map_err(|_| Failure::Silent)?.map_err(Failure::from)
    }
}

fn seen(object: &Value) -> Seen {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    Seen::new(version.unwrap_or_default(), object.get("status"))
}

/// Now, as Kubernetes writes it (RFC 3339, whole seconds).
fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

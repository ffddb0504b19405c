//! The watch of one kind: all objects there are, then every change, for ever.
//!
//! What comes out is safe to apply in order: after a gap (disconnect, compacted history) the objects that went
//! meanwhile are told as removed. Disconnects resume where the last event was; a compacted history is listed anew.
//! The watcher keeps the names of its objects, nothing else of them.

use super::arrival::{self, Arrival};
use super::failure::Failure;
use super::lines::{Event, Lines};
use super::source::Source;
use crate::admin::Metrics;
use crate::backoff::Backoff;
use crate::reconcile::Input;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use sluice_crds::{Kind, ObjectRef};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Failed attempts to resume after which all is listed anew: the server may not know our place in its history.
const RESUMES: u32 = 8;
/// Failures after which the log speaks up; shorter disturbances are ordinary.
const LOUD_AFTER: u32 = 3;

/// How long the server may take to begin an answer, at first. A server that is just starting may keep a request waiting
/// for seconds when it would take the next at once.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// The same for a server that is that slow: each wait in vain doubles it.
const LONGEST_PATIENCE: Duration = Duration::from_secs(32);
/// Longest time for a page of a list.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A watch that ends sooner was cut off, not over.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a watcher works with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) client: Client,
    pub(crate) sink: mpsc::Sender<Input>,
    pub(crate) metrics: Arc<Metrics>,
    /// Rung when the server says that it does not serve a kind.
    pub(crate) unserved: Arc<Notify>,
}

/// The watch of one kind.
pub(crate) struct Watcher {
    tools: Tools,
    source: Source,
    /// Objects that were told.
    known: HashSet<ObjectRef>,
    /// Whether the server is asked to stream its list.
    streams: bool,
    backoff: Backoff,
    failures: u32,
    patience: Duration,
}

/// Where to go on.
enum Place {
    /// From nothing.
    Start,
    /// Behind this version.
    After(String),
}

/// The receiver of arrivals is gone: the process ends.
struct Closed;

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    continued: String,
}

impl Watcher {
    /// Tells on from objects that an earlier watcher of the kind told.
    pub(crate) fn new(tools: Tools, source: Source, known: HashSet<ObjectRef>) -> Self {
        let (backoff, patience) = (Backoff::of_api(), FIRST_PATIENCE);
        Self { tools, source, known, streams: true, backoff, failures: 0, patience }
    }

    /// Watches until `stop`; gives back the names of the objects that were told.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> HashSet<ObjectRef> {
        let mut place = Place::Start;
        // Cancelling between two events loses nothing: the next watcher lists anew.
        let watch = async {
            loop {
                let Ok(next) = self.step(place).await else { return };
                place = next;
            }
        };
        tokio::select! {
            () = watch => {}
            () = stop.cancelled() => {}
        }
        self.known
    }

    /// Lists or watches until something ends it, then says where to go on.
    async fn step(&mut self, mut place: Place) -> Result<Place, Closed> {
        let outcome = match &mut place {
            Place::Start if self.streams => {
                let mut version = String::new();
                let followed = self.follow(&mut version, true).await?;
                if !version.is_empty() {
                    place = Place::After(version);
                }
                followed
            }
            Place::Start => match self.list().await? {
                Ok(version) => return Ok(Place::After(version)),
                Err(failure) => Err(failure),
            },
            Place::After(version) => self.follow(version, false).await?,
        };
        let Err(failure) = outcome else { return Ok(place) };
        Ok(self.after(failure, place).await)
    }

    /// Waits as long as the failure asks for, and says where to go on.
    async fn after(&mut self, failure: Failure, place: Place) -> Place {
        let kind = self.source.kind;
        self.tools.metrics.watch_error(kind, failure.word());
        if matches!(failure, Failure::Refused(_)) && self.streams && matches!(place, Place::Start) {
            tracing::debug!(%kind, reason = %failure, "the API server streams no lists; reading pages");
            self.streams = false;
            return Place::Start;
        }
        if matches!(failure, Failure::Expired(_)) {
            tracing::info!(%kind, "the watch's history is compacted; listing anew");
            return Place::Start;
        }
        self.failures += 1;
        match self.failures {
            LOUD_AFTER => {
                let next_step = match failure {
                    Failure::Forbidden(_) => "give the controller's role list and watch for the kind",
                    _ => "the watch goes on by itself when the API server answers again",
                };
                tracing::warn!(%kind, error = %failure, next_step, "the watch is interrupted");
            }
            _ => tracing::debug!(%kind, error = %failure, "the watch is interrupted"),
        }
        if matches!(failure, Failure::NotServed(_)) {
            self.tools.unserved.notify_one();
        }
        self.backoff.wait().await;
        let is_answer = !matches!(failure, Failure::Disconnected(_) | Failure::Silent);
        if is_answer && self.failures.is_multiple_of(RESUMES) { Place::Start } else { place }
    }

    fn went_well(&mut self) {
        if self.failures >= LOUD_AFTER {
            tracing::info!(kind = %self.source.kind, "the watch goes on");
        }
        self.failures = 0;
        self.patience = FIRST_PATIENCE;
        self.backoff.reset();
    }

    /// Reads all objects page by page; gives the version of the list.
    async fn list(&mut self) -> Result<Result<String, Failure>, Closed> {
        let mut fresh = HashSet::with_capacity(self.known.len());
        let mut continued = None;
        loop {
            let page = match self.page(continued.as_deref()).await {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure)),
            };
            for value in page.items.into_iter().flatten() {
                self.upsert(value, Some(&mut fresh)).await?;
            }
            if page.metadata.continued.is_empty() {
                self.listed(fresh).await?;
                return Ok(Ok(page.metadata.resource_version));
            }
            continued = Some(page.metadata.continued);
        }
    }

    async fn page(&self, continued: Option<&str>) -> Result<Page, Failure> {
        let request = self.source.page(continued).map_err(|it| Failure::Refused(it.to_string()))?;
        let answer = tokio::time::timeout(PAGE_TIMEOUT, self.tools.client.request(request)).await;
        Ok(answer.map_err(|_| Failure::Silent)??)
    }

    /// Watches behind `version`, which moves along; with `is_start` all objects there are come first.
    async fn follow(&mut self, version: &mut String, is_start: bool) -> Result<Result<(), Failure>, Closed> {
        let mut fresh = is_start.then(|| HashSet::with_capacity(self.known.len()));
        let from = (!is_start).then_some(version.as_str());
        // Spread, so that the watches of many controllers don't end together.
        let timeout_s = 240 + (rand::random::<f64>() * 50.0) as u32;
        let opened = match self.source.watch(from, timeout_s) {
            Ok(request) => Lines::open(&self.tools.client, request, self.patience).await,
            Err(error) => Err(Failure::Refused(error.to_string())),
        };
        let mut lines = match opened {
            Ok(lines) => lines,
            Err(failure) => {
                if matches!(failure, Failure::Silent) {
                    self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
                }
                return Ok(Err(failure));
            }
        };
        let opened_at = Instant::now();
        loop {
            let event = match lines.next().await {
                Ok(Some(event)) => event,
                // The watch's time is over, or the server stops: both are ordinary once all is listed.
                Ok(None) if fresh.is_none() && opened_at.elapsed() > SHORTEST => return Ok(Ok(())),
                Ok(None) => return Ok(Err(Failure::Disconnected("the watch ended early".to_owned()))),
                Err(Failure::NotJson(error)) => {
                    self.tools.metrics.watch_error(self.source.kind, "not_json");
                    tracing::warn!(kind = %self.source.kind, %error, "an event of the watch is not JSON; passed over");
                    continue;
                }
                Err(failure) => return Ok(Err(failure)),
            };
            if event.word == "ERROR" {
                return Ok(Err(Failure::of_event(&event.object)));
            }
            if self.failures > 0 {
                self.went_well();
            }
            self.event(event, &mut fresh, version).await?;
        }
    }

    async fn event(
        &mut self,
        event: Event,
        fresh: &mut Option<HashSet<ObjectRef>>,
        version: &mut String,
    ) -> Result<(), Closed> {
        match event.word.as_str() {
            "ADDED" | "MODIFIED" => {
                let told = self.upsert(event.object, fresh.as_mut()).await?;
                // While the list still streams, there is no place to resume from.
                if let (Some(told), None) = (told, &fresh) {
                    *version = told;
                }
            }
            "DELETED" => {
                self.tools.metrics.event(self.source.kind, "deleted");
                if let Ok((reference, at)) = arrival::identity(self.source.kind, &event.object) {
                    self.known.remove(&reference);
                    if let Some(fresh) = fresh.as_mut() {
                        fresh.remove(&reference);
                    } else {
                        *version = at;
                    }
                    self.tell(Arrival::Remove(reference)).await?;
                }
            }
            "BOOKMARK" => {
                let text = |pointer: &str| event.object.pointer(pointer).and_then(Value::as_str);
                let is_end = text("/metadata/annotations/k8s.io~1initial-events-end") == Some("true");
                if is_end && let Some(fresh) = fresh.take() {
                    self.listed(fresh).await?;
                }
                if let (None, Some(at)) = (&fresh, text("/metadata/resourceVersion")) {
                    *version = at.to_owned();
                }
            }
            word => tracing::debug!(kind = %self.source.kind, word, "an event of an unknown type"),
        }
        Ok(())
    }

    /// Tells an object; gives its version.
    async fn upsert(
        &mut self,
        value: Value,
        fresh: Option<&mut HashSet<ObjectRef>>,
    ) -> Result<Option<String>, Closed> {
        let kind = self.source.kind;
        self.tools.metrics.event(kind, "applied");
        let read = match arrival::read(kind, value) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%kind, %error, "an object without identity; passed over");
                return Ok(None);
            }
        };
        if !self.known.contains(&read.reference) {
            self.known.insert(read.reference.clone());
        }
        if let Some(fresh) = fresh {
            fresh.insert(read.reference);
        }
        self.tell(read.arrival).await?;
        Ok(Some(read.version))
    }

    /// All there is was told: what was known and did not come is gone.
    async fn listed(&mut self, fresh: HashSet<ObjectRef>) -> Result<(), Closed> {
        let gone: Vec<ObjectRef> = self.known.difference(&fresh).cloned().collect();
        self.known = fresh;
        self.tools.metrics.listed(self.source.kind);
        for reference in gone {
            self.tell(Arrival::Remove(reference)).await?;
        }
        self.tell(Arrival::Listed(self.source.kind)).await?;
        self.went_well();
        Ok(())
    }

    async fn tell(&self, arrival: Arrival) -> Result<(), Closed> {
        self.tools.sink.send(Input::Arrival(arrival)).await.map_err(|_| Closed)
    }
}

/// Tells that the server has no such kind any more, and that its objects are gone.
pub(crate) async fn forget(tools: &Tools, kind: Kind, known: HashSet<ObjectRef>) {
    for reference in known {
        if tools.sink.send(Input::Arrival(Arrival::Remove(reference))).await.is_err() {
            return;
        }
    }
    let _ = tools.sink.send(Input::Arrival(Arrival::Listed(kind))).await;
}

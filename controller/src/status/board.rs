//! What each object's status is on the server, what it should be, and when to write it: pure, with time as argument.
//!
//! The queue is bounded by the number of objects: a newer status of an object replaces the one that waits. The first
//! write of an object goes out at once; while it keeps changing, writes come further and further apart, never more
//! than [`LONGEST_HOLD`], so that a burst of changes costs few writes and its end is still shown within a second.

use super::merge;
use super::seen::{Seen, fingerprint};
use serde_json::Value;
use sluice_crds::ObjectRef;
use sluice_translate::Status;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Distance of the second write of a busy object from its first.
const FIRST_HOLD: Duration = Duration::from_millis(100);
/// Longest distance between two writes of a busy object.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_millis(900);
/// An object that was not written for this long is no longer busy.
const QUIET: Duration = Duration::from_secs(2);
/// How long a Gateway that was programmed may wait for acknowledgements before its status says so.
pub(crate) const FLAP_HOLD: Duration = Duration::from_millis(800);
/// Pause after a conflict, times the number of earlier ones.
const CONFLICT_PAUSE: Duration = Duration::from_millis(10);
/// Writes at a time.
const IN_FLIGHT: usize = 16;

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) object: ObjectRef,
    /// Version of the object that the write builds on.
    pub(crate) version: Box<str>,
    /// Merge patch of `status`.
    pub(crate) patch: Value,
    /// The status as wanted, and the same as JSON.
    pub(crate) status: Option<Status>,
    pub(crate) wanted: Option<Value>,
    /// How often it was tried in vain.
    pub(crate) tries: u32,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Write this.
    Write(Box<Job>),
    /// Nothing before this time, if it is given, or before something changes.
    Wait(Option<Instant>),
}

/// How a write went.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The server has this now.
    Written(Seen),
    /// Somebody changed the object meanwhile: this is what the server has, and its generation.
    Conflict(Seen, Option<i64>),
    /// The object is gone.
    Gone,
    /// Again, after the pause.
    Later(Duration),
    /// The server will not take it, whenever it is asked.
    Refused,
}

#[derive(Debug)]
struct Waiting {
    status: Option<Status>,
    since: Instant,
    due: Instant,
    /// How long a programmed Gateway may keep saying so.
    patience: Duration,
    tries: u32,
}

/// When an object was last written, and how far away the next write is.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last: Instant,
    hold: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Board {
    controller: String,
    is_active: bool,
    seen: HashMap<ObjectRef, Seen>,
    waiting: HashMap<ObjectRef, Waiting>,
    due: BTreeSet<(Instant, ObjectRef)>,
    paces: HashMap<ObjectRef, Pace>,
    in_flight: HashSet<ObjectRef>,
    /// No write before this: the server does not answer.
    rest_until: Option<Instant>,
}

impl Board {
    /// For the statuses of this controller.
    pub(crate) fn new(controller: &str) -> Self {
        Self { controller: controller.to_owned(), ..Self::default() }
    }

    /// Whether statuses are written at all: only the holder of the lease does. What waits is dropped either way.
    pub(crate) fn set_active(&mut self, is_active: bool) {
        self.is_active = is_active;
        self.waiting.clear();
        self.due.clear();
        self.in_flight.clear();
        self.rest_until = None;
    }

    /// Notes what the server has.
    pub(crate) fn seen(&mut self, object: &ObjectRef, mut seen: Seen) {
        if let Some(older) = self.seen.get(object) {
            seen.inherit(older);
        }
        self.seen.insert(object.clone(), seen);
    }

    /// Notes that the object is gone.
    pub(crate) fn gone(&mut self, object: &ObjectRef) {
        self.seen.remove(object);
        self.paces.remove(object);
        self.drop_waiting(object);
    }

    /// Every object that has a status or could have one.
    pub(crate) fn objects(&self) -> Vec<ObjectRef> {
        self.seen.keys().cloned().collect()
    }

    /// Writes waiting or in flight.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// The status that the object should have; `None`: nothing of ours. One that says of a programmed Gateway that its
    /// data planes have not confirmed yet waits for `patience`, in which they may.
    pub(crate) fn want(
        &mut self,
        object: &ObjectRef,
        status: Option<Status>,
        patience: Duration,
        now: Instant,
    ) {
        if !self.is_active || !self.seen.contains_key(object) {
            return;
        }
        let since = self.drop_waiting(object).map_or(now, |it| it.since);
        let due = self.paces.get(object).map_or(now, |pace| now.max(pace.last + pace.hold));
        self.put(object.clone(), Waiting { status, since, due, patience, tries: 0 });
    }

    fn put(&mut self, object: ObjectRef, waiting: Waiting) {
        self.due.insert((waiting.due, object.clone()));
        self.waiting.insert(object, waiting);
    }

    fn drop_waiting(&mut self, object: &ObjectRef) -> Option<Waiting> {
        let waiting = self.waiting.remove(object)?;
        self.due.remove(&(waiting.due, object.clone()));
        Some(waiting)
    }

    /// What to do now; `time` is now as Kubernetes writes it.
    pub(crate) fn next(&mut self, now: Instant, time: &str) -> Next {
        if let Some(until) = self.rest_until {
            if now < until {
                return Next::Wait(Some(until));
            }
            self.rest_until = None;
        }
        while self.in_flight.len() < IN_FLIGHT {
            // An object that is being written waits for the end of that.
            let first = self.due.iter().find(|(_, object)| !self.in_flight.contains(object)).cloned();
            let Some((due, object)) = first else { return Next::Wait(None) };
            if due > now {
                return Next::Wait(Some(due));
            }
            if let Some(job) = self.start(object, now, time) {
                return Next::Write(Box::new(job));
            }
        }
        Next::Wait(None)
    }

    /// Takes an object out of the queue; the write to make, if one is needed now.
    fn start(&mut self, object: ObjectRef, now: Instant, time: &str) -> Option<Job> {
        let mut waiting = self.drop_waiting(&object)?;
        let seen = self.seen.get(&object)?;
        let wanted = waiting.status.as_ref().and_then(|it| serde_json::to_value(it).ok());
        let now_there = seen.status();
        let patch = merge::patch(object.kind, &now_there, wanted.as_ref(), &self.controller, time)?;
        if let Some(wanted) = &wanted {
            if seen.answers == Some(fingerprint(wanted)) {
                return None;
            }
            if merge::is_pending_again(&now_there, wanted) && now < waiting.since + waiting.patience {
                waiting.due = waiting.since + waiting.patience;
                self.put(object, waiting);
                return None;
            }
        }
        let version = seen.version.clone();
        self.note_write(&object, now);
        self.in_flight.insert(object.clone());
        Some(Job { object, version, patch, status: waiting.status, wanted, tries: waiting.tries })
    }

    fn note_write(&mut self, object: &ObjectRef, now: Instant) {
        let busy = self.paces.get(object).filter(|it| now.duration_since(it.last) < QUIET);
        let hold = busy.map_or(FIRST_HOLD, |it| (it.hold * 2).min(LONGEST_HOLD));
        if self.paces.len() > 4 * IN_FLIGHT {
            self.paces.retain(|_, it| now.duration_since(it.last) < QUIET);
        }
        self.paces.insert(object.clone(), Pace { last: now, hold });
    }

    /// Notes how a write went.
    pub(crate) fn done(&mut self, job: Job, outcome: Outcome, now: Instant) {
        if !self.in_flight.remove(&job.object) {
            // The lease was lost meanwhile.
            return;
        }
        let object = job.object.clone();
        match outcome {
            Outcome::Written(mut seen) => {
                let left =
                    merge::patch(object.kind, &seen.status(), job.wanted.as_ref(), &self.controller, "");
                seen.answers = left.and(job.wanted.as_ref()).map(fingerprint);
                self.seen.insert(object, seen);
            }
            Outcome::Conflict(seen, generation) => {
                self.seen(&object, seen);
                let judged = job.wanted.as_ref().and_then(merge::generation);
                // A newer generation is on its way here, and a status for it will follow.
                if judged.is_none_or(|it| generation.is_none_or(|now_there| now_there <= it)) {
                    let due = now + CONFLICT_PAUSE * job.tries.min(50);
                    self.again(job, due);
                }
            }
            Outcome::Gone => self.gone(&object),
            Outcome::Later(pause) => {
                self.rest_until = Some(now + pause);
                self.again(job, now + pause);
            }
            Outcome::Refused => {}
        }
    }

    /// Back into the queue, unless something newer waits there.
    fn again(&mut self, job: Job, due: Instant) {
        if self.waiting.contains_key(&job.object) || !self.seen.contains_key(&job.object) {
            return;
        }
        let waiting =
            Waiting { status: job.status, since: due, due, patience: FLAP_HOLD, tries: job.tries + 1 };
        self.put(job.object, waiting);
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;

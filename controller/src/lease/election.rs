//! Who leads: the rules, pure, with time as argument.
//!
//! The clock of another replica is never compared with ours: a lease counts as abandoned when we have seen it
//! unchanged for its whole duration. Two replicas that both try to take it are told apart by the server, which takes
//! only the write that builds on the version it has.

use std::time::{Duration, Instant};

/// How long a lease holds without being renewed.
pub(crate) const DURATION: Duration = Duration::from_secs(15);
/// After this long without a successful renewal the holder gives up, well before others may take over.
pub(crate) const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between attempts to renew.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Pause between looks at a lease that another replica holds: bounds how long nobody leads after a release.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(1_000);

/// A lease as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Empty after a release.
    pub(crate) holder: String,
    /// `spec.leaseDurationSeconds`.
    pub(crate) duration: Duration,
    /// How often the holder changed.
    pub(crate) transitions: i32,
    /// When the holder took it, as the holder says.
    pub(crate) acquired: Option<jiff::Timestamp>,
    /// `metadata.resourceVersion`: changes with each renewal.
    pub(crate) version: String,
}

/// What to do with the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is none: create it.
    Create,
    /// It is ours, or nobody's: write our name, building on this version, with this many transitions.
    Take {
        /// Version to build on.
        version: String,
        /// New count of transitions.
        transitions: i32,
    },
    /// Another replica holds it.
    Wait,
}

/// One replica's view of the lease.
#[derive(Debug)]
pub(crate) struct Election {
    identity: String,
    /// The last record that differed from the one before, and when it came.
    observed: Option<(Record, Instant)>,
    /// When the last successful renewal was begun.
    renewed: Option<Instant>,
}

impl Election {
    pub(crate) fn new(identity: &str) -> Self {
        Self { identity: identity.to_owned(), observed: None, renewed: None }
    }

    /// Takes in what the server has and says what to do.
    pub(crate) fn look(&mut self, record: Option<Record>, now: Instant) -> Step {
        let Some(record) = record else {
            self.observed = None;
            return Step::Create;
        };
        if self.observed.as_ref().is_none_or(|(old, _)| *old != record) {
            self.observed = Some((record.clone(), now));
        }
        let since = self.observed.as_ref().map_or(now, |it| it.1);
        let is_ours = record.holder == self.identity;
        let is_free = record.holder.is_empty() || now >= since + record.duration;
        if !is_ours && !is_free {
            return Step::Wait;
        }
        let transitions = if is_ours { record.transitions } else { record.transitions.saturating_add(1) };
        Step::Take { version: record.version, transitions }
    }

    /// The write that was begun at `begun` succeeded: we hold the lease in this version.
    pub(crate) fn held(&mut self, record: Record, begun: Instant) {
        self.observed = Some((record, begun));
        self.renewed = Some(begun);
    }

    /// The lease is another's now, or was given back.
    pub(crate) fn lost(&mut self) {
        self.renewed = None;
    }

    /// Whether we hold the lease.
    pub(crate) fn leads(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|it| now < it + RENEW_DEADLINE)
    }

    /// When leading ends unless it is renewed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.renewed.map(|it| it + RENEW_DEADLINE)
    }

    /// The version to build a renewal on, without a look before.
    pub(crate) fn own(&self) -> Option<&Record> {
        self.observed.as_ref().map(|it| &it.0).filter(|it| it.holder == self.identity)
    }
}

#[cfg(test)]
mod tests {
    use super::{DURATION, Election, RENEW_DEADLINE, Record, Step};
    use std::time::{Duration, Instant};

    fn record(holder: &str, version: &str) -> Record {
        let (holder, version) = (holder.to_owned(), version.to_owned());
        Record { holder, duration: DURATION, transitions: 3, acquired: None, version }
    }

    fn take(version: &str, transitions: i32) -> Step {
        Step::Take { version: version.to_owned(), transitions }
    }

    #[test]
    fn a_lease_is_taken_when_it_was_seen_unchanged_for_its_duration_whatever_its_times_say() {
        let start = Instant::now();
        let mut us = Election::new("a");
        assert_eq!(us.look(Some(record("b", "1")), start), Step::Wait);
        // Renewed: the time starts anew.
        assert_eq!(us.look(Some(record("b", "2")), start + DURATION), Step::Wait);
        assert_eq!(
            us.look(Some(record("b", "2")), start + DURATION * 2 - Duration::from_secs(1)),
            Step::Wait
        );
        assert_eq!(us.look(Some(record("b", "2")), start + DURATION * 2), take("2", 4));
    }

    #[test]
    fn a_released_lease_is_taken_at_once_and_a_missing_one_created() {
        let mut us = Election::new("a");
        assert_eq!(us.look(Some(record("", "1")), Instant::now()), take("1", 4));
        assert_eq!(us.look(None, Instant::now()), Step::Create);
    }

    #[test]
    fn the_holder_renews_without_a_transition_and_gives_up_at_the_deadline() {
        let start = Instant::now();
        let mut us = Election::new("a");
        us.held(record("a", "5"), start);
        assert_eq!(us.look(Some(record("a", "5")), start), take("5", 3));
        assert_eq!(us.own().map(|it| it.version.as_str()), Some("5"));
        assert!(us.leads(start + RENEW_DEADLINE - Duration::from_millis(1)));
        assert!(!us.leads(start + RENEW_DEADLINE));
        us.lost();
        assert!(!us.leads(start) && us.deadline().is_none());
    }

    #[test]
    fn others_may_take_over_only_after_the_holder_has_given_up() {
        assert!(RENEW_DEADLINE < DURATION);
    }
}

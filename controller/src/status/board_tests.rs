use super::{Board, FLAP_HOLD, Job, LONGEST_HOLD, Next, Outcome, QUIET};
use crate::status::Seen;
use serde_json::{Value, json};
use sluice_crds::{Kind, ObjectRef};
use sluice_translate::{Condition, ConditionStatus, GatewayStatus, RouteStatus, Status};
use std::time::{Duration, Instant};

const US: &str = "sluice.dev/gateway-controller";

fn gateway() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, "edge", "web")
}

fn status(programmed: ConditionStatus, reason: &'static str, generation: i64) -> Option<Status> {
    Some(Status::Gateway(Box::new(GatewayStatus {
        addresses: Vec::new(),
        attached_listener_sets: None,
        conditions: vec![Condition {
            r#type: "Programmed",
            status: programmed,
            reason: reason.into(),
            message: String::new(),
            observed_generation: Some(generation),
        }],
        listeners: Vec::new(),
    })))
}

fn good(generation: i64) -> Option<Status> {
    status(ConditionStatus::True, "Programmed", generation)
}

fn board(now_there: Option<&Value>) -> Board {
    let mut board = Board::new(US);
    board.set_active(true);
    board.seen(&gateway(), Seen::new("1", now_there));
    board
}

fn write(board: &mut Board, now: Instant) -> Option<Job> {
    match board.next(now, "now") {
        Next::Write(job) => Some(*job),
        Next::Wait(_) => None,
    }
}

/// What the server has after the write.
fn answer(job: &Job, version: &str) -> Outcome {
    Outcome::Written(Seen::new(version, Some(&job.patch)))
}

#[test]
fn only_the_holder_of_the_lease_writes_and_only_what_differs() {
    let now = Instant::now();
    let mut board = board(None);
    board.set_active(false);
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    assert!(write(&mut board, now).is_none());
    board.set_active(true);
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    let job = write(&mut board, now).unwrap();
    assert_eq!(&*job.version, "1");
    let done = answer(&job, "2");
    board.done(job, done, now);
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    assert!(write(&mut board, now + QUIET).is_none());
    assert_eq!(board.len(), 0);
}

#[test]
fn a_thousand_changes_in_ten_seconds_cost_few_writes_and_the_last_is_shown_within_a_second() {
    let start = Instant::now();
    let mut board = board(None);
    let (mut writes, mut last) = (0, Duration::ZERO);
    let end = Duration::from_secs(10);
    for ms in 0..12_000u64 {
        let at = Duration::from_millis(ms);
        if at < end && ms % 10 == 0 {
            board.want(&gateway(), good(i64::try_from(ms).unwrap()), FLAP_HOLD, start + at);
        }
        while let Some(job) = write(&mut board, start + at) {
            writes += 1;
            last = at;
            let done = answer(&job, &ms.to_string());
            board.done(job, done, start + at);
        }
    }
    assert!((5..=20).contains(&writes), "{writes}");
    assert!(last <= end + LONGEST_HOLD, "{last:?}");
    assert_eq!(board.len(), 0);
}

#[test]
fn a_programmed_gateway_waits_a_moment_for_its_acknowledgement_before_it_says_pending() {
    let now = Instant::now();
    let there = json!({"conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "",
        "observedGeneration": 1, "lastTransitionTime": "then"}]});
    let mut board = board(Some(&there));
    board.want(&gateway(), status(ConditionStatus::False, "Pending", 2), FLAP_HOLD, now);
    assert!(write(&mut board, now).is_none());
    // The acknowledgement comes: one write, with the new generation.
    board.want(&gateway(), good(2), FLAP_HOLD, now + Duration::from_millis(20));
    let job = write(&mut board, now + Duration::from_millis(20)).unwrap();
    assert_eq!(job.patch["conditions"][0]["observedGeneration"], 2);
    assert_eq!(job.patch["conditions"][0]["lastTransitionTime"], "then");
    let done = answer(&job, "2");
    board.done(job, done, now);
    // It does not come: the truth is written.
    let later = now + QUIET * 2;
    board.want(&gateway(), status(ConditionStatus::False, "Pending", 3), FLAP_HOLD, later);
    assert!(write(&mut board, later).is_none());
    assert_eq!(write(&mut board, later + FLAP_HOLD).unwrap().patch["conditions"][0]["status"], "False");
}

#[test]
fn a_conflict_is_tried_again_on_what_the_server_has_unless_a_newer_generation_is_there() {
    let now = Instant::now();
    let mut board = board(None);
    board.want(&gateway(), good(4), FLAP_HOLD, now);
    let job = write(&mut board, now).unwrap();
    board.done(job, Outcome::Conflict(Seen::new("9", None), Some(4)), now);
    let job = write(&mut board, now + Duration::from_secs(1)).unwrap();
    assert_eq!((&*job.version, job.tries), ("9", 1));
    board.done(job, Outcome::Conflict(Seen::new("10", None), Some(5)), now);
    assert!(write(&mut board, now + Duration::from_secs(9)).is_none());
}

#[test]
fn a_newer_status_replaces_one_that_failed_and_an_object_that_is_gone_is_dropped() {
    let now = Instant::now();
    let mut board = board(None);
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    let job = write(&mut board, now).unwrap();
    board.want(&gateway(), good(2), FLAP_HOLD, now);
    assert!(write(&mut board, now + QUIET).is_none(), "one write of an object at a time");
    board.done(job, Outcome::Later(Duration::from_secs(1)), now);
    assert!(write(&mut board, now + Duration::from_millis(900)).is_none(), "the server rests");
    let job = write(&mut board, now + QUIET).unwrap();
    assert_eq!(job.patch["conditions"][0]["observedGeneration"], 2);
    board.done(job, Outcome::Gone, now);
    board.want(&gateway(), good(3), FLAP_HOLD, now);
    assert!(write(&mut board, now + QUIET * 2).is_none());
}

#[test]
fn a_field_that_the_crd_drops_does_not_make_a_loop() {
    let now = Instant::now();
    let mut board = board(None);
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    let job = write(&mut board, now).unwrap();
    let pruned = json!({"conditions": []});
    board.done(job, Outcome::Written(Seen::new("2", Some(&pruned))), now);
    board.seen(&gateway(), Seen::new("3", Some(&pruned)));
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    assert!(write(&mut board, now + QUIET).is_none());
    board.want(&gateway(), good(2), FLAP_HOLD, now + QUIET);
    assert!(write(&mut board, now + QUIET * 2).is_some(), "something else is tried");
}

#[test]
fn a_lost_lease_drops_what_waits_and_what_is_under_way() {
    let now = Instant::now();
    let mut board = board(None);
    let route = ObjectRef::new(Kind::HttpRoute, "edge", "r");
    board.seen(&route, Seen::new("1", None));
    board.want(&gateway(), good(1), FLAP_HOLD, now);
    board.want(&route, Some(Status::Route(RouteStatus { parents: Vec::new() }.into())), FLAP_HOLD, now);
    let job = write(&mut board, now).unwrap();
    board.set_active(false);
    assert_eq!(board.len(), 0);
    let done = answer(&job, "2");
    board.done(job, done, now);
    assert!(write(&mut board, now + QUIET).is_none());
}

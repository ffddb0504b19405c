//! Frames that cost the sender nothing, in numbers.

use crate::{
    ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Target, assert_not_grown, good, request, resident_bytes, stream,
};
use sluice_tests::Reply;
use sluice_tests::client::frames::{flag, frame, get, kind};

const RESET: [u8; 4] = [0, 0, 0, 8];

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset_ends_the_connection() {
    let target = Target::start().await;
    let block = good();
    let flood = target.frames().await.flood(20_000, |number| {
        let mut bytes = request(stream(number), &block);
        bytes.extend(frame(kind::RST_STREAM, 0, stream(number), &RESET));
        bytes
    });
    let flood = flood.await;
    assert!(flood.closed, "{flood:?}");
    assert_eq!(flood.error_code.unwrap_or(ENHANCE_YOUR_CALM), ENHANCE_YOUR_CALM, "{flood:?}");
    target.unharmed("rapid reset").await;
    let reached = target.backend.lines().len();
    assert!(reached < 2_000, "{reached} of 20,000 reset requests reached the backend");
}

/// CVE-2025-8671: the client makes the server reset, here by a window update of 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_you_reset_ends_the_connection() {
    let target = Target::start().await;
    let block = good();
    let flood = target.frames().await.flood(20_000, |number| {
        let mut bytes = request(stream(number), &block);
        bytes.extend(frame(kind::WINDOW_UPDATE, 0, stream(number), &[0; 4]));
        bytes
    });
    let flood = flood.await;
    assert!(flood.closed, "{flood:?}");
    target.unharmed("MadeYouReset").await;
    let reached = target.backend.lines().len();
    assert!(reached < 5_000, "{reached} of 20,000 requests reached the backend");
}

/// The same by a window that overflows, and by data after the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_ways_to_be_made_to_reset_end_the_connection_too() {
    for (what, kind, payload) in [
        ("a window that overflows", kind::WINDOW_UPDATE, 0x7fff_ffff_u32.to_be_bytes().to_vec()),
        ("data after the end", kind::DATA, b"x".to_vec()),
        ("a stream that depends on itself", kind::PRIORITY, Vec::new()),
    ] {
        let target = Target::start().await;
        let block = good();
        let flood = target.frames().await.flood(20_000, |number| {
            let mut bytes = request(stream(number), &block);
            let own = stream(number).to_be_bytes();
            let payload = if payload.is_empty() { [&own[..], &[16]].concat() } else { payload.clone() };
            bytes.extend(frame(kind, 0, stream(number), &payload));
            bytes
        });
        let flood = flood.await;
        let reached = target.backend.lines().len();
        assert!(flood.closed || reached >= 20_000, "{what}: {flood:?}, {reached} reached");
        target.unharmed(what).await;
    }
}

/// CVE-2024-27316 and its kin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_block_without_end_ends_the_connection() {
    let before = resident_bytes();
    for (what, payload) in
        [("large pieces", vec![0; 16_000]), ("small pieces", vec![0; 1]), ("empty pieces", Vec::new())]
    {
        let target = Target::start().await;
        let flood = target.frames().await.flood(100_000, |number| {
            if number == 0 {
                frame(kind::HEADERS, flag::END_STREAM, 1, &good())
            } else {
                frame(kind::CONTINUATION, 0, 1, &payload)
            }
        });
        let flood = flood.await;
        assert!(flood.closed, "{what}: {flood:?}");
        target.unharmed(what).await;
        assert!(target.backend.lines().iter().all(|line| line.contains("after")), "{what}");
    }
    assert_not_grown(before);
}

/// Frames that want an acknowledgement, from a client that never reads one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_that_nobody_reads_do_not_pile_up() {
    let before = resident_bytes();
    for (what, bytes) in [
        ("PING", frame(kind::PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ("empty SETTINGS", frame(kind::SETTINGS, 0, 0, &[])),
    ] {
        let target = Target::start().await;
        let (flood, _open) = target.frames().await.flood_unread(1_000_000, |_| bytes.clone()).await;
        println!("{what}: {} frames were taken", flood.sent);
        target.unharmed(what).await;
    }
    assert_not_grown(before);
}

/// Frames that mean nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_without_effect_are_borne() {
    let before = resident_bytes();
    for (what, bytes) in [
        ("PRIORITY", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 16])),
        ("WINDOW_UPDATE", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown frame", frame(200, 0, 0, b"anything")),
        ("PING with ACK", frame(kind::PING, flag::ACK, 0, &[7; 8])),
    ] {
        let target = Target::start().await;
        let flood = target.frames().await.flood(200_000, |_| bytes.clone()).await;
        println!("{what}: {flood:?}");
        target.unharmed(what).await;
    }
    assert_not_grown(before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_window_that_overflows_ends_the_connection() {
    let target = Target::start().await;
    let bytes = frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    let flood = target.frames().await.flood(10, |_| bytes.clone()).await;
    assert!(flood.closed, "{flood:?}");
    assert_eq!(flood.error_code.unwrap_or(FLOW_CONTROL_ERROR), FLOW_CONTROL_ERROR, "{flood:?}");
    target.unharmed("a window that overflows").await;
}

/// RUSTSEC-2026-0258.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_without_end_does_not_pile_up() {
    let before = resident_bytes();
    let target = Target::with(
        |request| if request.line().starts_with("POST") { Reply::Hang } else { Reply::ok(request.line()) },
        |_| {},
    )
    .await;
    let block = sluice_tests::client::frames::block(&[
        (":method", b"POST"),
        (":scheme", b"http"),
        (":path", b"/public"),
        (":authority", b"a.example"),
    ]);
    let flood = target.frames().await.flood(2_000_000, |number| {
        if number == 0 {
            frame(kind::HEADERS, flag::END_HEADERS, 1, &block)
        } else {
            frame(kind::DATA, 0, 1, &[])
        }
    });
    let flood = flood.await;
    println!("empty DATA: {flood:?}");
    assert!(flood.sent < 2_000_000 || flood.closed, "{flood:?}");
    target.unharmed("empty DATA").await;
    assert_not_grown(before);
}

/// More streams at once than allowed are refused, not queued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_above_the_limit_are_refused() {
    let target = Target::with(
        |request| if request.line().contains("/slow") { Reply::Hang } else { Reply::ok(request.line()) },
        |settings| settings.limits.streams_per_connection = 5,
    )
    .await;
    let mut frames = target.frames().await;
    let slow = get("a.example", "/public/slow", &[]);
    for number in 0..6 {
        frames.headers(stream(number), &slow, true).await.unwrap();
    }
    let outcome = frames.outcome(stream(5)).await.expect("an open connection");
    assert_eq!(
        (outcome.kind, outcome.error_code()),
        (kind::RST_STREAM, Some(crate::REFUSED_STREAM)),
        "{outcome:?}"
    );
    target.unharmed("many streams").await;
}

//! Clients that stop in the middle and wait.

use crate::{Target, assert_not_grown, resident_bytes, stream};
use futures::future::join_all;
use sluice_tests::client::frames::{block, flag, frame, get, kind};
use sluice_tests::{Reply, eventually};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);
/// SETTINGS_INITIAL_WINDOW_SIZE.
const INITIAL_WINDOW: u16 = 4;

/// Large answers, and not one byte of window to send them: the streams end, and with them what the backend's answers
/// hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_never_opens_holds_little_and_not_for_long() {
    let before = resident_bytes();
    let target = Target::with(
        |request| {
            if request.line().contains("/large") {
                let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n".to_vec();
                bytes.resize(bytes.len() + 4_194_304, b'x');
                Reply::Send(bytes)
            } else {
                Reply::ok(request.line())
            }
        },
        |settings| settings.limits.stream_idle_timeout = SHORT,
    )
    .await;
    let mut frames = target.frames_with(&[(INITIAL_WINDOW, 0)]).await;
    let large = get("a.example", "/public/large", &[]);
    for number in 0..100 {
        frames.headers(stream(number), &large, true).await.unwrap();
    }
    let metrics = target.stand.gateway().proxy().metrics().clone();
    eventually("the requests begin", || async { in_flight(&metrics.encode()) > 0 }).await;
    eventually("the stalled streams end", || async { in_flight(&metrics.encode()) == 0 }).await;
    target.unharmed("a window of 0").await;
    assert_not_grown(before);
}

/// The gauge of requests in flight in the metrics' text.
fn in_flight(metrics: &str) -> u64 {
    let gauges: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("sluice_requests_in_flight")).collect();
    assert!(!gauges.is_empty(), "{metrics}");
    gauges.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stalls_ends_its_stream() {
    let target = Target::with(
        |request| Reply::ok(request.line()),
        |settings| settings.limits.stream_idle_timeout = SHORT,
    )
    .await;
    let mut frames = target.frames().await;
    let head: [(&str, &[u8]); 4] =
        [(":method", b"POST"), (":scheme", b"http"), (":path", b"/public"), (":authority", b"a.example")];
    frames.headers(1, &block(&head), false).await.unwrap();
    frames.send(&frame(kind::DATA, 0, 1, b"only this")).await.unwrap();
    let outcome = frames.outcome(1).await;
    assert!(
        outcome.is_none_or(|frame| matches!(frame.kind, kind::HEADERS | kind::RST_STREAM | kind::GOAWAY))
    );
    assert!(target.backend.requests().is_empty(), "{:?}", target.backend.lines());
    target.unharmed("a stalled body").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_requests_is_closed() {
    join_all(["silence", "half a header block", "pings"].map(says_nothing_whole)).await;
}

async fn says_nothing_whole(what: &str) {
    let short = |settings: &mut sluice_ir::Settings| {
        settings.limits.idle_timeout = SHORT;
        settings.limits.request_head_timeout = SHORT;
    };
    let target = Target::with(|request| Reply::ok(request.line()), short).await;
    let mut frames = target.frames().await;
    match what {
        "half a header block" => {
            let head = frame(kind::HEADERS, flag::END_STREAM, 1, &get("a.example", "/public", &[]));
            frames.send(&head).await.unwrap();
        }
        "pings" => {
            for _ in 0..10 {
                frames.send(&frame(kind::PING, 0, 0, &[1; 8])).await.unwrap();
            }
        }
        _ => {}
    }
    while frames.next().await.is_some() {}
    target.unharmed(what).await;
}

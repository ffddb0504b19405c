//! From HTTP/2, where a field may hold any byte, to HTTP/1.1, where a line break starts the next one.

use crate::{Target, is_refusal};
use sluice_tests::client::frames::{block, flag, frame, get, kind};

const SMUGGLED: &[u8] = b"x\r\nX-Injected: 1\r\n\r\nGET /secret HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_carries_a_line_break_to_the_backend() {
    let target = Target::start().await;
    for (what, value) in [
        ("CRLF", SMUGGLED),
        ("LF", b"x\nX-Injected: 1"),
        ("CR", b"x\rX-Injected: 1"),
        ("NUL", b"x\0X-Injected"),
        ("a control byte", b"x\x01X-Injected"),
    ] {
        target
            .refuses_block(&format!("{what} in a value"), &get("a.example", "/public", &[("x", value)]))
            .await;
        target
            .refuses_block(&format!("{what} in a cookie"), &get("a.example", "/public", &[("cookie", value)]))
            .await;
        for pseudo in [":method", ":path", ":authority", ":scheme"] {
            let fields: Vec<(&str, &[u8])> = [
                (":method", &b"GET"[..]),
                (":scheme", b"http"),
                (":path", b"/public"),
                (":authority", b"a.example"),
            ]
            .into_iter()
            .map(|(name, old)| (name, if name == pseudo { value } else { old }))
            .collect();
            target.refuses_block(&format!("{what} in {pseudo}"), &block(&fields)).await;
        }
    }
    assert!(!target.backend.saw("Injected"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_becomes_two_fields() {
    let target = Target::start().await;
    for name in [
        "x\r\nx-injected: 1\r\ny",
        "x: 1\r\nx-injected",
        "x-injected: 1",
        "x injected",
        "x\nx-injected",
        "x\0",
        "",
        "transfer-encoding ",
    ] {
        target.refuses_block(name, &get("a.example", "/public", &[(name, b"1")])).await;
    }
    assert!(!target.backend.saw("injected"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pseudo_field_adds_words_to_the_request_line() {
    let target = Target::start().await;
    for (name, value) in [
        (":path", &b"/public HTTP/1.1"[..]),
        (":path", b"/public /secret"),
        (":path", b"/public\t"),
        (":method", b"GET /secret HTTP/1.1"),
        (":method", b"GE T"),
        (":authority", b"a.example b.example"),
        (":authority", b"a.example/secret"),
    ] {
        let fields: Vec<(&str, &[u8])> = [
            (":method", &b"GET"[..]),
            (":scheme", b"http"),
            (":path", b"/public"),
            (":authority", b"a.example"),
        ]
        .into_iter()
        .map(|(key, old)| (key, if key == name { value } else { old }))
        .collect();
        target.refuses_block(&format!("{name} {:?}", String::from_utf8_lossy(value)), &block(&fields)).await;
    }
}

/// A fragment is no part of a request; what stands behind `#` goes nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_does_not_reach_the_backend() {
    let target = Target::start().await;
    let mut frames = target.frames().await;
    frames.headers(1, &get("a.example", "/public/x#/../../secret", &[]), true).await.unwrap();
    assert!(frames.outcome(1).await.is_some());
    target.unharmed("a fragment").await;
    assert!(!target.backend.saw("secret") && !target.backend.saw("#"));
}

/// Trailers can't bring pseudo fields, framing or line breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_change_nothing() {
    let target = Target::start().await;
    for (what, trailers) in [
        ("a pseudo field", block(&[(":path", b"/secret")])),
        ("a line break", block(&[("x", SMUGGLED)])),
        ("framing", block(&[("transfer-encoding", b"chunked")])),
        ("a forged origin", block(&[("x-forwarded-for", b"1.2.3.4")])),
    ] {
        let mut frames = target.frames().await;
        let head: [(&str, &[u8]); 4] =
            [(":method", b"POST"), (":scheme", b"http"), (":path", b"/public"), (":authority", b"a.example")];
        frames.headers(1, &block(&head), false).await.unwrap();
        frames.send(&frame(kind::DATA, 0, 1, b"hello")).await.unwrap();
        let _ = frames.send(&frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, &trailers)).await;
        let outcome = frames.outcome(1).await;
        let answered = outcome.as_ref().is_some_and(|frame| frame.kind == kind::HEADERS);
        assert!(answered || is_refusal(outcome.as_ref()), "{what}: {outcome:?}");
        target.unharmed(what).await;
    }
    assert!(!target.backend.saw("Injected") && !target.backend.saw("1.2.3.4"));
}

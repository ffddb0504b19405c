//! Header blocks that are small on the wire and large behind it, or malformed (RFC 9113 §8).

use crate::{Target, assert_not_grown, is_refusal, resident_bytes};
use sluice_tests::client::frames::{block, flag, frame, get, integer, kind, string};

/// One large field that is named ten thousand times by its index: 14 KB become 40 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compression_bomb_is_refused() {
    let before = resident_bytes();
    let target = Target::start().await;
    let mut bytes = get("a.example", "/public", &[]);
    // Literal with incremental indexing (RFC 7541 §6.2.1); the new entry has index 62.
    bytes.push(0x40);
    string(&mut bytes, b"x");
    string(&mut bytes, &[b'y'; 3900]);
    for _ in 0..10_000 {
        integer(&mut bytes, 0x80, 7, 62);
    }
    for round in 0..20 {
        let mut frames = target.frames().await;
        frames.headers(1, &bytes, true).await.unwrap();
        let outcome = frames.outcome(1).await;
        assert!(is_refusal(outcome.as_ref()), "round {round}: {outcome:?}");
    }
    target.unharmed("a compression bomb").await;
    assert!(!target.backend.saw("yyyy"));
    assert_not_grown(before);
}

/// A cookie may come in crumbs; each is a field and counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookie_crumbs_are_bounded() {
    let target = Target::start().await;
    let crumbs: Vec<(&str, &[u8])> = vec![("cookie", b"a=b"); 3_000];
    let all = get("a.example", "/public", &crumbs);
    let mut frames = target.frames().await;
    let mut pieces = all.chunks(16_000);
    let first = frame(kind::HEADERS, flag::END_STREAM, 1, pieces.next().unwrap());
    frames.send(&first).await.unwrap();
    for piece in pieces {
        let _ = frames.send(&frame(kind::CONTINUATION, 0, 1, piece)).await;
    }
    let _ = frames.send(&frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[])).await;
    let outcome = frames.outcome(1).await;
    assert!(is_refusal(outcome.as_ref()), "{outcome:?}");
    target.unharmed("cookie crumbs").await;
}

/// RFC 9113 §8.2.3: an HTTP/1.1 backend gets the crumbs as one cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_crumbs_become_one_cookie() {
    let target = Target::start().await;
    let mut frames = target.frames().await;
    let crumbs = get("a.example", "/public", &[("cookie", b"a=1"), ("cookie", b"b=2"), ("cookie", b"c=3")]);
    frames.headers(1, &crumbs, true).await.unwrap();
    let outcome = frames.outcome(1).await.expect("an answer");
    assert_eq!(outcome.kind, kind::HEADERS, "{outcome:?}");
    assert_eq!(target.backend.requests()[0].values("cookie"), ["a=1; b=2; c=3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_fields_than_allowed_are_refused() {
    let target = Target::start().await;
    let names: Vec<String> = (0..150).map(|number| format!("x-{number}")).collect();
    let fields: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"y"[..])).collect();
    target.refuses_block("150 fields", &get("a.example", "/public", &fields)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_request_is_refused() {
    let target = Target::start().await;
    let whole: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"http"), (":path", b"/public"), (":authority", b"a.example")];
    let without =
        |name: &str| -> Vec<(&str, &[u8])> { whole.into_iter().filter(|(key, _)| *key != name).collect() };
    let with = |more: &[(&'static str, &'static [u8])]| -> Vec<(&str, &[u8])> {
        whole.iter().copied().chain(more.iter().copied()).collect()
    };
    let replaced = |name: &str, value: &'static [u8]| -> Vec<(&str, &[u8])> {
        whole.into_iter().map(|(key, old)| (key, if key == name { value } else { old })).collect()
    };
    let mut late = with(&[("x", b"y")]);
    late.swap(3, 4);
    for (what, fields) in [
        ("no :method", without(":method")),
        ("no :scheme", without(":scheme")),
        ("no :path", without(":path")),
        ("no host at all", without(":authority")),
        (":path twice", with(&[(":path", b"/secret")])),
        (":authority twice", with(&[(":authority", b"b.example")])),
        ("an unknown pseudo field", with(&[(":secret", b"x")])),
        ("a pseudo field of answers", with(&[(":status", b"200")])),
        ("a pseudo field after others", late),
        ("an empty :path", replaced(":path", b"")),
        ("a :path without slash", replaced(":path", b"public")),
        ("an absolute :path", replaced(":path", b"http://b.example/public")),
        ("an empty :authority", replaced(":authority", b"")),
        ("user information", replaced(":authority", b"a.example@b.example")),
        ("a host that differs", with(&[("host", b"b.example")])),
        ("two hosts", with(&[("host", b"a.example"), ("host", b"b.example")])),
        ("a name in upper case", with(&[("X-Upper", b"y")])),
        ("connection", with(&[("connection", b"close")])),
        ("keep-alive", with(&[("keep-alive", b"timeout=5")])),
        ("proxy-connection", with(&[("proxy-connection", b"close")])),
        ("transfer-encoding", with(&[("transfer-encoding", b"chunked")])),
        ("upgrade", with(&[("upgrade", b"websocket"), ("connection", b"upgrade")])),
        ("te other than trailers", with(&[("te", b"gzip")])),
        ("a length without body", with(&[("content-length", b"5")])),
        ("two lengths", with(&[("content-length", b"0"), ("content-length", b"5")])),
        ("a length with a sign", with(&[("content-length", b"+0")])),
        ("a list of lengths", with(&[("content-length", b"0, 0")])),
    ] {
        target.refuses_block(what, &block(&fields)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_agrees_is_no_second_host() {
    let target = Target::start().await;
    let mut frames = target.frames().await;
    frames
        .headers(1, &get("a.example", "/public", &[("host", b"a.example"), ("te", b"trailers")]), true)
        .await
        .unwrap();
    assert_eq!(frames.outcome(1).await.expect("an answer").kind, kind::HEADERS);
    let received = target.backend.requests().remove(0);
    assert_eq!(received.values("host"), ["a.example"], "{}", received.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_refused() {
    let target = Target::start().await;
    target
        .refuses_block("CONNECT", &block(&[(":method", b"CONNECT"), (":authority", b"127.0.0.1:22")]))
        .await;
    let extended: [(&str, &[u8]); 5] = [
        (":method", b"CONNECT"),
        (":protocol", b"websocket"),
        (":scheme", b"http"),
        (":path", b"/public"),
        (":authority", b"a.example"),
    ];
    target.refuses_block("extended CONNECT", &block(&extended)).await;
}

/// A body longer or shorter than its length must not reach the backend as a whole one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_lies_is_refused() {
    for (what, length, data) in [("longer", &b"3"[..], &b"12345"[..]), ("shorter", b"10", b"12345")] {
        let target = Target::start().await;
        let fields: [(&str, &[u8]); 5] = [
            (":method", b"POST"),
            (":scheme", b"http"),
            (":path", b"/public"),
            (":authority", b"a.example"),
            ("content-length", length),
        ];
        let mut frames = target.frames().await;
        frames.headers(1, &block(&fields), false).await.unwrap();
        let _ = frames.send(&frame(kind::DATA, flag::END_STREAM, 1, data)).await;
        let outcome = frames.outcome(1).await;
        assert!(is_refusal(outcome.as_ref()), "{what}: {outcome:?}");
        target.unharmed(what).await;
        assert!(target.backend.requests().iter().all(|request| request.line().starts_with("GET")), "{what}");
    }
}

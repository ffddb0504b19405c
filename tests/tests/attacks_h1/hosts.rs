//! Which host a request is for: one answer, the same for the route and for the backend (RFC 9112 §3.2).

use crate::{SECRET, Target};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_host_exactly_once() {
    let target = Target::start().await;
    for (what, fields) in [
        ("no Host", ""),
        ("two Hosts", "Host: a.example\r\nHost: b.example\r\n"),
        ("the same Host twice", "Host: a.example\r\nHost: a.example\r\n"),
        ("an empty Host", "Host:\r\n"),
        ("a list of hosts", "Host: a.example, b.example\r\n"),
        ("two words", "Host: a.example b.example\r\n"),
        ("user information", "Host: a.example@b.example\r\n"),
        ("a path", "Host: a.example/x\r\n"),
        ("a port that is no number", "Host: a.example:x\r\n"),
        ("a port that is too long", "Host: a.example:999999\r\n"),
        ("two ports", "Host: a.example:80:80\r\n"),
        ("an open bracket", "Host: [::1\r\n"),
        ("a host with a backslash", "Host: a.example\\b\r\n"),
        ("a folded Host", "Host:\r\n a.example\r\n"),
        ("a hidden Host", "X: y\r\n Host: b.example\r\nHost: a.example\r\n"),
    ] {
        target.refuses(what, format!("GET /public HTTP/1.1\r\n{fields}\r\n{SECRET}"), 400).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_must_agree_with_host() {
    let target = Target::start().await;
    for line in [
        "GET http://b.example/public HTTP/1.1",
        "GET http://a.example:81/public HTTP/1.1",
        "GET http://a.example@b.example/public HTTP/1.1",
        "GET http:///public HTTP/1.1",
        "GET //b.example/public/../.. HTTP/9.9",
        "GET ftp://a.example/public HTTP/1.1",
    ] {
        target.refuses(line, format!("{line}\r\nHost: a.example\r\n\r\n{SECRET}"), 400).await;
    }
}

/// RFC 9112 §3.2.2: a server must accept the absolute form; the backend sees the plain one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_that_agrees_is_forwarded_in_origin_form() {
    let target = Target::start().await;
    let mut wire = target.wire().await;
    wire.send("GET http://a.example/public/x?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "GET /public/x?q=1 HTTP/1.1");
    assert_eq!(target.backend.requests()[0].values("host"), ["a.example"]);
}

/// What the route was chosen by is what the backend gets: no second reading of the path behind us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dot_segments_do_not_leave_the_routed_prefix() {
    let target = Target::start().await;
    for path in [
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/.%2E/secret",
        "/public/x/../../secret",
        "/./secret",
        "/public/..%2fsecret/../../secret",
    ] {
        let mut wire = target.wire().await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
    }
    let mut wire = target.wire().await;
    wire.send("GET /secret/../public/%7ex HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "GET /public/~x HTTP/1.1");
    target.unharmed("dot segments").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_slash_stays_one_element() {
    let target = Target::start().await;
    let mut wire = target.wire().await;
    wire.send("GET /public/a%2Fb%2f..%2fc//d HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(wire.answer().await.text(), "GET /public/a%2Fb%2F..%2Fc//d HTTP/1.1");
}

//! Authorisers that speak plain HTTP.

use crate::{checks, manifests_with, stand};
use sluice_tests::{Ask, Received, Recorder, Reply};
use tokio::net::TcpListener;

fn answer(head: &str, body: &str) -> Reply {
    Reply::Send(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gets_the_request_without_what_is_not_its_business() {
    let authorizer = Recorder::scripted(|_| {
        answer(
            "200 OK\r\nX-User: alice\r\nX-Envoy-Auth-Headers-To-Remove: cookie, host\r\nX-Hop: 1\r\nConnection: x-hop\r\n\
             Date: now\r\nServer: s\r\nContent-Type: text/html\r\nSet-Cookie: a=1",
            "fine",
        )
    })
    .await;
    let stand = stand(
        "protocol: HTTP, http: {path: /check, allowedHeaders: [X-Team, Upgrade, Host]}",
        authorizer.address(),
    )
    .await;
    let ask = Ask::new("PUT", "http://shop.example:80/cart?a=b")
        .header("Authorization", "Bearer x")
        .header("X-Team", "blue")
        .header("X-User", "forged")
        .header("Cookie", "c=1")
        .header("Content-Type", "application/json")
        .body("{}");
    let seen = stand.request(&ask).await;
    assert_eq!(seen.expect_status(200).seen_header("x-user").as_deref(), Some("alice"));
    assert_eq!(seen.seen_header("content-type").as_deref(), Some("application/json"));
    assert_eq!(
        (seen.seen_header("cookie"), seen.seen_header("x-hop"), seen.seen_header("server")),
        (None, None, None)
    );
    assert_eq!((seen.seen("body"), seen.seen_header("set-cookie")), ("{}".to_owned(), None));
    let requests = authorizer.requests();
    let [asked] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(asked.line(), "PUT /check/cart?a=b HTTP/1.1");
    let fields = |asked: &Received, name: &str| asked.values(name).join("|");
    assert_eq!(fields(asked, "host"), "shop.example:80");
    assert_eq!(fields(asked, "authorization"), "Bearer x");
    assert_eq!(fields(asked, "x-team"), "blue");
    assert_eq!(fields(asked, "content-length"), "0");
    assert!(asked.body.is_empty());
    let names = asked.head.lines().skip(1).filter_map(|it| it.split(':').next());
    let mut names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-length", "host", "x-team"], "nothing else is sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_no_reaches_the_client_whatever_its_shape() {
    let authorizer = Recorder::scripted(|request| match request.line() {
        "GET /large HTTP/1.1" => answer("403 Forbidden\r\nX-Why: large", &"x".repeat(100_000)),
        "GET /redirect HTTP/1.1" => answer("302 Found\r\nLocation: https://id.example/\r\nKeep-Alive: 5", ""),
        "GET /no-content HTTP/1.1" => Reply::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        _ => answer(
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Type: text/html",
            "<p>no",
        ),
    })
    .await;
    let stand = stand("protocol: HTTP", authorizer.address()).await;
    let denied = stand.get("http://a.example/").await;
    assert_eq!(
        (denied.expect_status(401).text().as_str(), denied.header("content-type")),
        ("<p>no", Some("text/html"))
    );
    assert_eq!(denied.header("www-authenticate"), Some("Basic realm=\"x\""));
    let large = stand.get("http://a.example/large").await;
    assert_eq!((large.expect_status(403).text().as_str(), large.header("x-why")), ("", Some("large")));
    let redirect = stand.get("http://a.example/redirect").await;
    assert_eq!(redirect.expect_status(302).header("location"), Some("https://id.example/"));
    assert_eq!(redirect.header("keep-alive"), None);
    stand.get("http://a.example/no-content").await.expect_status(403);
    assert_eq!(checks(&stand, "denied"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_dead_hangs_or_talks_nonsense_lets_nobody_in() {
    let authorizer = Recorder::scripted(|request| match request.line() {
        "GET /hasty/hang HTTP/1.1" => Reply::Hang,
        "GET /garbage HTTP/1.1" => Reply::SendAndClose(b"\x16\x03\x01 nonsense\r\n\r\n".to_vec()),
        "GET /cut HTTP/1.1" => {
            Reply::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec())
        }
        "GET /head HTTP/1.1" => answer(&format!("200 OK\r\nX-Large: {}", "x".repeat(200_000)), ""),
        "GET /many HTTP/1.1" => answer(&format!("200 OK\r\n{}X-Last: 1", "X-A: 1\r\n".repeat(150)), ""),
        "GET /fails HTTP/1.1" | "POST /fails HTTP/1.1" => answer("500 Internal Server Error", "oops"),
        _ => answer("200 OK", ""),
    })
    .await;
    let mut stand = stand("protocol: HTTP", authorizer.address()).await;
    stand.get("http://a.example/").await.expect_status(200);
    for path in ["hasty/hang", "garbage", "cut", "head", "many", "fails"] {
        let answer = stand.get(&format!("http://a.example/{path}")).await;
        assert_eq!((answer.status, answer.backend()), (503, None), "{path}: {answer:?}");
        assert!(!answer.text().contains("oops"), "{path}");
    }
    let call = Ask::new("POST", "http://a.example/fails").header("content-type", "application/grpc");
    assert_eq!(stand.request_h2(&call).await.header("grpc-status"), Some("14"));
    // Nobody listens there any more.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    stand.fix("auth.test", dead);
    stand.apply(&manifests_with("protocol: HTTP")).await;
    stand.get("http://a.example/").await.expect_status(503);
    assert_eq!((checks(&stand, "allowed"), checks(&stand, "failed")), (1, 8));
    // Then the policy goes, and nobody is asked.
    stand.apply(&manifests_with("disabled: true")).await;
    stand.get("http://a.example/").await.expect_status(200);
}

/// Connections are kept: a hundred questions in a row need few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_connection_is_used_again() {
    let authorizer = Recorder::scripted(|_| answer("200 OK", "")).await;
    let stand = stand("protocol: HTTP", authorizer.address()).await;
    for _ in 0..20 {
        stand.get("http://a.example/").await.expect_status(200);
    }
    assert_eq!((authorizer.requests().len(), authorizer.connections()), (20, 1));
}

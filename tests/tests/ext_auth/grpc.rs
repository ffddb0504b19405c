//! Authorisers that speak gRPC.

use crate::server::{
    Authorizer, CheckResponse, HeaderOption, Ok as Changes, Parameter, append, denied, ok, set,
};
use crate::{checks, stand};
use futures::future::join_all;
use sluice_tests::{Ask, eventually, soon};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tonic::Status;

const PLAIN: &str = "protocol: GRPC";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_of_the_request_and_changes_it() {
    let authorizer = Authorizer::scripted(|_| {
        Ok(ok(Changes {
            headers: vec![
                set("x-user", "alice"),
                append("x-role", "admin"),
                // What is settled or the gateway's own word is not the authoriser's to say.
                set("host", "evil.test"),
                set("content-length", "1"),
                set("transfer-encoding", "chunked"),
                set("x-forwarded-for", "6.6.6.6"),
                set(":path", "/evil"),
                HeaderOption { append_action: 1, ..set("x-role", "ignored") },
                HeaderOption { append_action: 3, ..set("x-absent", "ignored") },
            ],
            headers_to_remove: vec!["authorization".to_owned(), "host".to_owned(), "no name".to_owned()],
            response_headers_to_add: vec![
                set("x-answer", "a"),
                set("set-cookie", "s=1"),
                set("connection", "x"),
            ],
            query_parameters_to_set: vec![Parameter { key: "user".to_owned(), value: "a b".to_owned() }],
            query_parameters_to_remove: vec!["token".to_owned()],
        }))
    })
    .await;
    let stand = stand("protocol: GRPC, grpc: {context: {team: shop}}", authorizer.address).await;
    let ask = Ask::get("http://a.example/x/../cart?token=secret&n=1")
        .header("Authorization", "Bearer x")
        .header("X-User", "forged")
        .header("X-Role", "guest")
        .header("Cookie", "a=1")
        .header("X-Forwarded-For", "1.2.3.4");
    let answer = stand.request(&ask).await;
    assert_eq!(answer.expect_status(200).seen_header("x-user").as_deref(), Some("alice"));
    assert_eq!(answer.seen_header("x-role").as_deref(), Some("guest, admin"));
    assert_eq!(answer.seen_header("authorization"), None);
    assert_eq!(answer.seen_header("x-absent"), None);
    assert_eq!(answer.seen_header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!((answer.seen("host"), answer.seen("path")), ("a.example".to_owned(), "/cart".to_owned()));
    assert_eq!(answer.seen("query"), "n=1&user=a%20b");
    assert_eq!((answer.header("x-answer"), answer.header("set-cookie")), (Some("a"), Some("s=1")));

    let told = authorizer.latest();
    let http = authorizer.latest_http();
    assert_eq!((http.method.as_str(), http.path.as_str()), ("GET", "/cart?token=secret&n=1"));
    assert_eq!((http.host.as_str(), http.scheme.as_str(), http.size), ("a.example", "http", -1));
    assert_eq!(http.protocol, "HTTP/1.1");
    let field = |name: &str| http.headers.get(name).map(String::as_str);
    assert_eq!(field("authorization"), Some("Bearer x"));
    assert_eq!(field(":authority"), Some("a.example"));
    assert_eq!(field("x-forwarded-for"), Some("127.0.0.1"), "what the client says of itself is replaced");
    let address = |it: Option<crate::server::Peer>| it.unwrap().address.unwrap().socket_address.unwrap();
    let source = address(told.source);
    assert_eq!((source.address.as_str(), source.protocol), ("127.0.0.1", 0));
    assert!(source.port_value > 0);
    assert_eq!(address(told.destination).port_value, u32::from(stand.address(80).port()));
    assert_eq!(told.context_extensions["team"], "shop");
    assert_eq!(checks(&stand, "allowed"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_the_clients_answer() {
    let authorizer = Authorizer::scripted(|http| {
        Ok(match http.path.as_str() {
            "/login" => denied(
                16,
                302,
                vec![set("location", "/enter"), set("set-cookie", "a=1"), set("set-cookie", "b=2")],
                "",
            ),
            "/bare" => CheckResponse { denied: None, ..denied(7, 0, Vec::new(), "") },
            "/liar" => denied(7, 200, vec![set("content-length", "99"), set("x-ok", "1")], "no"),
            // Says OK and denies: it does not let anybody in.
            "/torn" => denied(0, 401, Vec::new(), "torn"),
            "/large" => denied(7, 403, Vec::new(), &"x".repeat(70_000)),
            _ => denied(
                16,
                401,
                vec![set("www-authenticate", "Bearer"), set("x-why", "a"), set("x-why", "b")],
                "who are you?",
            ),
        })
    })
    .await;
    let stand = stand(PLAIN, authorizer.address).await;
    let answer = stand.get("http://a.example/").await;
    assert_eq!((answer.expect_status(401).text().as_str(), answer.backend()), ("who are you?", None));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.joined("x-why").as_deref(), Some("b"), "a field is set, not added");
    let login = stand.get("http://a.example/login").await;
    assert_eq!((login.expect_status(302).header("location"), login.text().as_str()), (Some("/enter"), ""));
    assert_eq!(login.joined("set-cookie").as_deref(), Some("a=1, b=2"));
    stand.get("http://a.example/bare").await.expect_status(403);
    let liar = stand.get("http://a.example/liar").await;
    assert_eq!((liar.expect_status(403).text().as_str(), liar.header("x-ok")), ("no", Some("1")));
    stand.get("http://a.example/torn").await.expect_status(401);
    assert_eq!(stand.get("http://a.example/large").await.expect_status(403).text(), "");
    // A HEAD has no body, and the connection goes on.
    let mut wire = stand.wire(&Ask::get("http://a.example/")).await;
    assert_eq!(wire.ask(&Ask::new("HEAD", "http://a.example/")).await.expect_status(401).text(), "");
    wire.ask(&Ask::get("http://a.example/")).await.expect_status(401);

    let call =
        Ask::new("POST", "http://a.example/a.b/C").header("content-type", "application/grpc").body("xxxxx");
    let answer = stand.request_h2(&call).await;
    assert_eq!((answer.expect_status(200).header("grpc-status"), answer.text().as_str()), (Some("16"), ""));
    assert_eq!(answer.header("grpc-message"), Some("auth_denied"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(checks(&stand, "denied"), 9);
    let metrics = stand.gateway().proxy().metrics().encode();
    assert!(metrics.contains("outcome=\"auth_denied\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_asked_about_before_it_is_switched() {
    let authorizer = Authorizer::scripted(|http| {
        Ok(if http.headers.contains_key("authorization") {
            ok(Changes::default())
        } else {
            denied(7, 403, Vec::new(), "no")
        })
    })
    .await;
    let stand = stand("protocol: GRPC, forwardBody: {maxSize: 100}", authorizer.address).await;
    let stream = TcpStream::connect(stand.address(80)).await.unwrap();
    let refused = soon("a handshake", client_async("ws://a.example/chat", stream)).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(answer.status(), 403);
    let stream = TcpStream::connect(stand.address(80)).await.unwrap();
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request("ws://a.example/chat")
            .unwrap();
    request.headers_mut().insert("authorization", "Bearer x".parse().unwrap());
    let (_socket, answer) = soon("a handshake", client_async(request, stream)).await.unwrap();
    assert_eq!(answer.status(), 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_shown_up_to_their_bound() {
    let authorizer = Authorizer::scripted(|_| Ok(ok(Changes::default()))).await;
    let stand = stand("protocol: GRPC, forwardBody: {maxSize: 65536}", authorizer.address).await;
    let text = "x".repeat(65_536);
    for body in ["hello", text.as_str()] {
        let ask = Ask::new("POST", "http://a.example/").body(body.to_owned());
        let length = i64::try_from(body.len()).unwrap();
        for is_http2 in [false, true] {
            let answer = if is_http2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
            assert_eq!(answer.expect_status(200).json()["bodyBytes"], length);
            let told = authorizer.latest_http();
            assert_eq!((told.body.as_str(), told.size), (body, if is_http2 { -1 } else { length }));
        }
    }
    let binary = Ask::new("POST", "http://a.example/").body(vec![0_u8, 255, 1]);
    stand.request(&binary).await.expect_status(200);
    assert_eq!(
        (authorizer.latest_http().body.as_str(), authorizer.latest_http().raw_body),
        ("", vec![0, 255, 1])
    );
    // Chunked and empty; larger than the bound; announced larger.
    let mut wire = stand.wire(&binary).await;
    wire.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    wire.answer().await.expect_status(200);
    wire.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(wire.answer().await.expect_status(200).seen("body"), "abc");
    let asked = authorizer.asked.lock().unwrap().len();
    let large = Ask::new("POST", "http://a.example/").body("x".repeat(65_537));
    stand.request(&large).await.expect_status(413);
    let mut chunked = stand.wire(&large).await;
    let mut sent = b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    sent.extend(format!("{:x}\r\n{}\r\n0\r\n\r\n", 65_537, "x".repeat(65_537)).into_bytes());
    chunked.send(sent).await;
    chunked.answer().await.expect_status(413);
    assert_eq!(authorizer.asked.lock().unwrap().len(), asked, "nobody is asked about half a body");
    // Whoever waits to be asked for the body is.
    let mut waiting = stand.wire(&large).await;
    waiting
        .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    waiting.send("hello").await;
    let answer = waiting.answer().await;
    assert_eq!(
        (answer.expect_status(200).seen("body"), answer.interim.clone()),
        ("hello".to_owned(), vec![100])
    );
}

/// Without a verdict nobody gets in, whatever went wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_verdict_nobody_gets_in() {
    let authorizer = Authorizer::slow(|http| {
        let path = http.path.clone();
        Box::pin(async move {
            match path.as_str() {
                "/unavailable" => Err(Status::unavailable("not now")),
                "/refused" => Err(Status::permission_denied("who are you?")),
                "/empty" => Ok(CheckResponse::default()),
                "/bad-field" => Ok(ok(Changes { headers: vec![set("x y", "1")], ..Changes::default() })),
                "/bad-value" => {
                    Ok(ok(Changes { headers: vec![set("x", "a\r\nb: c")], ..Changes::default() }))
                }
                "/many" => Ok(ok(Changes { headers: vec![set("x", "1"); 200], ..Changes::default() })),
                "/large" => Ok(denied(7, 403, Vec::new(), &"x".repeat(400_000))),
                "/hasty/never" => std::future::pending().await,
                _ => Ok(ok(Changes::default())),
            }
        })
    })
    .await;
    let paths = ["unavailable", "refused", "empty", "bad-field", "bad-value", "many", "large", "hasty/never"];
    let stand = stand("protocol: GRPC, failureStatus: 502", authorizer.address).await;
    stand.get("http://a.example/").await.expect_status(200);
    for path in paths {
        let answer = stand.get(&format!("http://a.example/{path}")).await;
        assert_eq!((answer.status, answer.backend()), (502, None), "{path}: {answer:?}");
    }
    assert_eq!(checks(&stand, "failed"), paths.len() as u64);
    // Where silence lets everybody in, nonsense still does not.
    let lax = crate::stand("protocol: GRPC, onFailure: Allow", authorizer.address).await;
    for path in paths {
        let status = lax.get(&format!("http://a.example/{path}")).await.status;
        let wanted = if ["unavailable", "hasty/never"].contains(&path) { 200 } else { 503 };
        assert_eq!(status, wanted, "{path}");
    }
    assert_eq!((checks(&lax, "passed"), checks(&lax, "failed")), (2, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_share_one_connection_and_many_are_asked_at_a_time() {
    let now = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = now.clone();
    let authorizer = Authorizer::slow(move |_| {
        let seen = seen.clone();
        Box::pin(async move {
            let at_once = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
            seen.1.fetch_max(at_once, Ordering::SeqCst);
            while seen.1.load(Ordering::SeqCst) < 20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(ok(Changes::default()))
        })
    })
    .await;
    let stand = stand(PLAIN, authorizer.address).await;
    let answers = join_all((0..20).map(|_| stand.get("http://a.example/"))).await;
    assert!(answers.iter().all(|it| it.status == 200));
    assert_eq!(now.1.load(Ordering::SeqCst), 20);
}

/// A client that leaves takes its question back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_not_asked_about_any_more() {
    let gone = Arc::new(AtomicUsize::new(0));
    let seen = gone.clone();
    let authorizer = Authorizer::slow(move |_| {
        let guard = CountOnDrop(seen.clone());
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    })
    .await;
    let stand = stand(PLAIN, authorizer.address).await;
    let ask = Ask::get("http://a.example/");
    let mut wire = stand.wire(&ask).await;
    wire.send(ask.to_http1()).await;
    authorizer.wait_asked(1).await;
    drop(wire);
    eventually("the question is taken back", || async { gone.load(Ordering::SeqCst) == 1 }).await;
    let (h2, connection) = stand.h2(&ask).await;
    let call = tokio::spawn(async move { h2.try_ask(&ask).await.is_err() });
    authorizer.wait_asked(2).await;
    call.abort();
    connection.abort();
    eventually("the question is taken back", || async { gone.load(Ordering::SeqCst) == 2 }).await;
}

struct CountOnDrop(Arc<AtomicUsize>);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

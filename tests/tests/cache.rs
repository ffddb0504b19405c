//! Answers that are kept: what is given again and to whom, through a real gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flate2::read::GzDecoder;
use futures::future::join_all;
use sluice_tests::{Answer, Ask, Received, Recorder, Reply, Stand, eventually, manifests};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Everything of the Gateway to one host, with this policy.
fn yaml(policy: &str) -> String {
    format!(
        "{}{}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: all}}
spec:
  parentRefs: [{{name: web}}]
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}}]
  - matches: [{{path: {{value: /}}, headers: [{{name: x-canary, value: \"1\"}}]}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}}]
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: cache}}
spec:
  targetRefs: [{{kind: Gateway, name: web}}]
  {policy}
",
        manifests::GATEWAY,
        manifests::backend("main.test", 80, "HTTP")
    )
}

/// A gateway before a backend that answers as the script says; what the backend saw.
async fn stand(
    policy: &str,
    script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
) -> (Stand, Recorder) {
    let backend = Recorder::scripted(script).await;
    let mut stand = Stand::start(&yaml(policy)).await;
    stand.fix("main.test", backend.address());
    stand.apply(&yaml(policy)).await;
    (stand, backend)
}

fn answer(fields: &str, body: &str) -> Reply {
    Reply::Send(
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
    )
}

fn status(status: &str, fields: &str) -> Reply {
    Reply::Send(format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\n\r\n").into_bytes())
}

fn said(answer: &Answer) -> String {
    answer.header("cache-status").unwrap_or_default().split("; ttl").next().unwrap_or_default().to_owned()
}

const HIT: &str = "sluice; hit";
const STORED: &str = "sluice; fwd=miss; stored";
const PASSED: &str = "sluice; fwd=miss";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_given_again_in_every_version() {
    let (stand, backend) =
        stand("cache: {}", |_| answer("Cache-Control: max-age=60\r\nX-Own: 1\r\n", "hello")).await;
    let first = stand.get("http://a.test/x?q=1").await;
    assert_eq!((said(&first).as_str(), first.header("age")), (STORED, None));
    for http in [1, 2] {
        let ask = Ask::get("http://a.test/x?q=1");
        let again = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
        assert_eq!((again.status, again.text().as_str(), said(&again).as_str()), (200, "hello", HIT));
        assert!(again.header("age").is_some_and(|age| age.parse::<u64>().is_ok()), "{again:?}");
        assert_eq!((again.header("x-own"), again.header("content-length")), (Some("1"), Some("5")));
    }
    let head = stand.request(&Ask::new("HEAD", "http://a.test/x?q=1")).await;
    assert_eq!((head.status, said(&head).as_str(), head.header("content-length")), (200, HIT, Some("5")));
    assert_eq!(backend.requests().len(), 1);
    for other in ["http://a.test/x?q=2", "http://a.test/x", "http://b.test/x?q=1", "http://a.test/X?q=1"] {
        assert_eq!(said(&stand.get(other).await), STORED, "{other}");
    }
    let canary = Ask::get("http://a.test/x?q=1").header("x-canary", "1");
    assert_eq!(said(&stand.request(&canary).await), STORED, "another rule may answer otherwise");
    stand.quiet().await;
    let metrics = stand.gateway().proxy().metrics().encode();
    assert!(metrics.contains("sluice_cache_requests_total{result=\"hit\"} 3"), "{metrics}");
    assert!(metrics.contains("sluice_cache_requests_total{result=\"stored\"} 6"), "{metrics}");
    assert!(metrics.contains("outcome=\"cached\",code_class=\"2xx\"} 3"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_kept_is_not() {
    let script = |request: &Received| {
        let path = request.line().split(' ').nth(1).unwrap().to_owned();
        let field = |fields: &str| answer(fields, "hello");
        match path.as_str() {
            "/private" => field("Cache-Control: private, max-age=60\r\n"),
            "/no-store" => field("Cache-Control: no-store\r\n"),
            "/cookie" => field("Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n"),
            "/vary" => field("Cache-Control: max-age=60\r\nVary: *\r\n"),
            "/error" => status("500 Oops", "Cache-Control: max-age=60\r\n"),
            _ => field(""),
        }
    };
    let (stand, backend) = stand("cache: {}", script).await;
    for path in ["/private", "/no-store", "/cookie", "/vary", "/error", "/silent"] {
        for _ in 0..3 {
            let answer = stand.get(&format!("http://a.test{path}")).await;
            assert_eq!(said(&answer), PASSED, "{path}");
        }
    }
    assert_eq!(backend.requests().len(), 18);
    let post = Ask::new("POST", "http://a.test/x");
    assert_eq!(said(&stand.request(&post).await), "sluice; fwd=method");
    let unkept = Ask::get("http://a.test/x").header("cache-control", "no-store");
    assert_eq!(said(&stand.request(&unkept).await), "sluice; fwd=bypass");
}

/// RFC 9111 §3.5: an answer to somebody who is named is for others only when it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_those_who_are_named_are_theirs() {
    let script = |request: &Received| {
        let who = request.values("authorization").first().copied().unwrap_or("nobody").to_owned();
        let is_public = request.line().contains("/public");
        answer(
            if is_public { "Cache-Control: public, max-age=60\r\n" } else { "Cache-Control: max-age=60\r\n" },
            &who,
        )
    };
    let (stand, _backend) = stand("cache: {}", script).await;
    let named =
        |path: &str, who: &str| Ask::get(&format!("http://a.test{path}")).header("authorization", who);
    for who in ["ann", "bob"] {
        for _ in 0..2 {
            let answer = stand.request(&named("/own", who)).await;
            assert_eq!((answer.text().as_str(), said(&answer).as_str()), (who, PASSED));
        }
    }
    assert_eq!(said(&stand.get("http://a.test/own").await), STORED);
    assert_eq!(stand.get("http://a.test/own").await.text(), "nobody");
    assert_eq!(
        stand.request(&named("/own", "ann")).await.text(),
        "ann",
        "what is there is not for those who are named"
    );
    assert_eq!(stand.get("http://a.test/own").await.text(), "nobody");
    assert_eq!(said(&stand.request(&named("/public", "ann")).await), STORED);
    let answer = stand.request(&named("/public", "bob")).await;
    assert_eq!((answer.text().as_str(), said(&answer).as_str()), ("ann", HIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variants_are_kept_apart() {
    let script = |request: &Received| {
        let language = request.values("accept-language").first().copied().unwrap_or("none").to_owned();
        answer("Cache-Control: max-age=60\r\nVary: Accept-Language\r\n", &language)
    };
    let (stand, backend) = stand("cache: {}", script).await;
    let ask = |language: &str| Ask::get("http://a.test/").header("accept-language", language);
    for (language, expected) in
        [("de", STORED), ("en", STORED), ("de", HIT), ("en", HIT), ("fr", STORED), ("de", HIT)]
    {
        let answer = stand.request(&ask(language)).await;
        assert_eq!((answer.text().as_str(), said(&answer).as_str()), (language, expected));
    }
    assert_eq!(stand.get("http://a.test/").await.text(), "none");
    assert_eq!(backend.requests().len(), 4);
}

/// One fetches, the others wait for what it brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_make_one_request() {
    let yaml = yaml("cache: {}");
    let stand = Stand::start(&yaml).await;
    let asked = (0..30).map(|_| {
        let ask = Ask::get("http://a.test/?delay=300ms")
            .header("x-echo-count", "stampede")
            .header("x-echo-set-header", "cache-control: max-age=60");
        let stand = &stand;
        async move { stand.request(&ask).await }
    });
    let answers = join_all(asked).await;
    assert!(answers.iter().all(|it| it.status == 200));
    assert_eq!(answers.iter().filter(|it| said(it) == STORED).count(), 1);
    let count = stand.get("http://a.test/count/stampede").await.text();
    assert_eq!(count.trim(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stale_is_asked_for_again_with_its_validator() {
    let script = |request: &Received| match request.values("if-none-match").first() {
        Some(&"\"a\"") => Reply::Send(
            b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: no-cache\r\n\r\n".to_vec(),
        ),
        _ => answer("Cache-Control: no-cache\r\nETag: \"a\"\r\n", "hello"),
    };
    let (stand, backend) = stand("cache: {}", script).await;
    assert_eq!(said(&stand.get("http://a.test/").await), STORED);
    for http in [1, 2] {
        let ask = Ask::get("http://a.test/");
        let again = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
        assert_eq!((again.status, again.text().as_str()), (200, "hello"));
        assert_eq!(said(&again), "sluice; fwd=stale; fwd-status=304");
    }
    assert_eq!(backend.requests().len(), 3);
    assert_eq!(backend.requests()[1].values("if-none-match"), ["\"a\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_it_is_told_so() {
    let (stand, backend) =
        stand("cache: {}", |_| answer("Cache-Control: max-age=60\r\nETag: \"a\"\r\n", "hello")).await;
    let conditional = Ask::get("http://a.test/").header("if-none-match", "\"b\", \"a\"");
    for expected in [STORED, HIT] {
        let answer = stand.request(&conditional).await;
        assert_eq!((answer.status, answer.body.len(), said(&answer).as_str()), (304, 0, expected));
    }
    assert_eq!(stand.get("http://a.test/").await.text(), "hello");
    assert_eq!(backend.requests().len(), 1);
    let conditional = Ask { target: "/2".to_owned(), ..conditional };
    for expected in [STORED, HIT] {
        let answer = stand.request_h2(&conditional).await;
        assert_eq!((answer.status, answer.body.len(), said(&answer).as_str()), (304, 0, expected), "HTTP/2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_come_out_of_what_is_kept() {
    let (stand, backend) =
        stand("cache: {}", |_| answer("Cache-Control: max-age=60\r\nETag: \"a\"\r\n", "0123456789")).await;
    let range = |range: &str| Ask::get("http://a.test/").header("range", range);
    let first = stand.request(&range("bytes=2-4")).await;
    assert_eq!(
        (first.status, said(&first).as_str()),
        (200, PASSED),
        "the backend knows no ranges, and decides"
    );
    stand.get("http://a.test/").await;
    for (asked, expected) in [("bytes=2-4", "234"), ("bytes=7-", "789"), ("bytes=-2", "89")] {
        let answer = stand.request(&range(asked)).await;
        assert_eq!(
            (answer.status, answer.text().as_str(), said(&answer).as_str()),
            (206, expected, HIT),
            "{asked}"
        );
    }
    assert_eq!(stand.request(&range("bytes=20-")).await.status, 416);
    let many: Vec<String> = (0..50).map(|it| format!("{}-{}", it % 9, it % 9)).collect();
    let answer = stand.request(&range(&format!("bytes={}", many.join(",")))).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "too many are a whole");
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_is_better_than_an_error_where_it_says_so() {
    let fails = Arc::new(AtomicUsize::new(0));
    let failing = fails.clone();
    let script = move |_: &Received| match failing.load(Ordering::SeqCst) {
        0 => answer("Cache-Control: max-age=0, stale-if-error=60\r\nETag: \"a\"\r\n", "hello"),
        1 => status("503 Busy", ""),
        _ => Reply::SendAndClose(Vec::new()),
    };
    let (stand, _backend) = stand("cache: {}", script).await;
    assert_eq!(said(&stand.get("http://a.test/").await), STORED);
    for how in [1, 2] {
        fails.store(how, Ordering::SeqCst);
        for http in [1, 2] {
            let ask = Ask::get("http://a.test/");
            let answer = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
            assert_eq!(
                (answer.status, answer.text().as_str(), said(&answer).as_str()),
                (200, "hello", HIT),
                "{how}"
            );
        }
        let other = stand.get("http://a.test/other").await.status;
        assert!(other >= 500, "{other}");
    }
}

/// What an unsafe request has changed is forgotten (RFC 9111 §4.4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_resource_takes_what_is_kept_away() {
    let (stand, backend) = stand("cache: {}", |request| {
        if request.line().starts_with("GET") {
            answer("Cache-Control: max-age=60\r\n", "hello")
        } else if request.line().contains("/refused") {
            status("403 No", "")
        } else {
            status("200 OK", "")
        }
    })
    .await;
    for path in ["/x", "/refused"] {
        let url = format!("http://a.test{path}");
        assert_eq!(said(&stand.get(&url).await), STORED);
        assert_eq!(said(&stand.get(&url).await), HIT);
        stand.request(&Ask::new("PUT", &url)).await;
        let expected = if path == "/x" { STORED } else { HIT };
        assert_eq!(said(&stand.get(&url).await), expected, "{path}");
    }
    assert_eq!(backend.requests().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_policy_begins_anew_and_another_one_does_not() {
    let script = |_: &Received| answer("Cache-Control: max-age=60\r\n", "hello");
    let (mut stand, _backend) = stand("cache: {}", script).await;
    assert_eq!(said(&stand.get("http://a.test/").await), STORED);
    stand.apply(&(yaml("cache: {}") + "---\n" + &manifests::backend("other.test", 80, "HTTP"))).await;
    assert_eq!(said(&stand.get("http://a.test/").await), HIT);
    stand.apply(&yaml("cache: {maxObjectBytes: 1000}")).await;
    assert_eq!(said(&stand.get("http://a.test/").await), STORED);
    stand.apply(&yaml("cache: {responseHeaders: Disabled}")).await;
    stand.get("http://a.test/").await;
    assert_eq!(stand.get("http://a.test/").await.header("cache-status"), None);
    assert!(stand.get("http://a.test/").await.header("age").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_pass_by_whole() {
    let script = |request: &Received| {
        let body = "x".repeat(100_000);
        if request.line().contains("/chunks") {
            let mut bytes =
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .to_vec();
            for piece in body.as_bytes().chunks(10_000) {
                bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            return Reply::Send(bytes);
        }
        answer("Cache-Control: max-age=60\r\n", &body)
    };
    let (stand, backend) = stand("cache: {maxObjectBytes: 50000}", script).await;
    for path in ["/length", "/chunks"] {
        for http in [1, 2, 1] {
            let ask = Ask::get(&format!("http://a.test{path}"));
            let answer = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
            assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{path}");
        }
    }
    assert_eq!(backend.requests().len(), 6);
}

/// What is kept is in no coding; each client gets it in its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_compressed_for_each() {
    let body = "a line of text\n".repeat(20_000);
    let sent = body.clone();
    let script = move |_: &Received| {
        let fields = "Cache-Control: max-age=60\r\nContent-Type: text/plain\r\nVary: Accept-Encoding\r\nETag: \"a\"\r\n";
        answer(fields, &sent)
    };
    let (stand, backend) = stand("cache: {}\n  compression: {}", script).await;
    for (http, coding, expected) in [
        (1, Some("gzip"), STORED),
        (1, None, HIT),
        (1, Some("gzip"), HIT),
        (2, Some("gzip"), HIT),
        (2, None, HIT),
    ] {
        let mut ask = Ask::get("http://a.test/");
        if let Some(coding) = coding {
            ask = ask.header("accept-encoding", coding);
        }
        let answer = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
        assert_eq!((said(&answer).as_str(), answer.header("content-encoding")), (expected, coding));
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        let mut text = String::new();
        match coding {
            Some(_) => GzDecoder::new(&answer.body[..]).read_to_string(&mut text).map(drop).unwrap(),
            None => text = answer.text(),
        }
        assert!(text == body);
    }
    assert_eq!(backend.requests().len(), 1);
    assert!(backend.requests()[0].values("accept-encoding").is_empty());
    let known =
        Ask::get("http://a.test/").header("accept-encoding", "gzip").header("if-none-match", "W/\"a\"");
    let answer = stand.request(&known).await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("W/\"a\"")));
}

/// Revalidated by 304, given from the store, and compressed: three parts that meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revalidated_is_compressed_too() {
    let body = "a line of text\n".repeat(20_000);
    let sent = body.clone();
    let script = move |request: &Received| {
        if !request.values("if-none-match").is_empty() {
            return Reply::Send(
                b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: no-cache\r\n\r\n".to_vec(),
            );
        }
        answer("Cache-Control: no-cache\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n", &sent)
    };
    let (stand, _backend) = stand("cache: {}\n  compression: {}", script).await;
    let ask = Ask::get("http://a.test/").header("accept-encoding", "gzip");
    for (http, expected) in
        [(1, STORED), (1, "sluice; fwd=stale; fwd-status=304"), (2, "sluice; fwd=stale; fwd-status=304")]
    {
        let answer = if http == 2 { stand.request_h2(&ask).await } else { stand.request(&ask).await };
        assert_eq!((said(&answer).as_str(), answer.header("content-encoding")), (expected, Some("gzip")));
        let mut text = String::new();
        GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
        assert!(text == body, "HTTP/{http}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_only_what_is_kept_gets_nothing_else() {
    let (stand, backend) = stand("cache: {}", |_| answer("Cache-Control: max-age=60\r\n", "hello")).await;
    let ask = Ask::get("http://a.test/").header("cache-control", "only-if-cached");
    let answer = stand.request(&ask).await;
    assert_eq!((answer.status, answer.text().trim()), (504, "not_cached"));
    assert_eq!(backend.requests().len(), 0);
    stand.get("http://a.test/").await;
    assert_eq!(stand.request(&ask).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_time_holds_for_answers_that_say_nothing() {
    let (stand, backend) = stand("cache: {defaultTtl: 60s}", |_| answer("", "hello")).await;
    assert_eq!(said(&stand.get("http://a.test/").await), STORED);
    let with_cookie = Ask::get("http://a.test/x").header("cookie", "session=1");
    for _ in 0..2 {
        assert_eq!(said(&stand.request(&with_cookie).await), PASSED, "it may be the cookie's own");
    }
    assert_eq!(said(&stand.get("http://a.test/").await), HIT);
    assert_eq!(backend.requests().len(), 3);
}

/// More than there is room for: what was not used lately gives way, and memory stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_recently_used_gives_way() {
    let script = |_: &Received| answer("Cache-Control: max-age=60\r\n", &"x".repeat(10_000));
    let (stand, _backend) = stand("cache: {maxBytes: 65536}", script).await;
    for number in 0..20 {
        assert_eq!(said(&stand.get(&format!("http://a.test/{number}")).await), STORED);
        assert_eq!(said(&stand.get("http://a.test/0").await), HIT, "it is used all the time");
    }
    assert_eq!(said(&stand.get("http://a.test/1").await), STORED);
    eventually("the last one is there", || async { said(&stand.get("http://a.test/19").await) == HIT }).await;
}

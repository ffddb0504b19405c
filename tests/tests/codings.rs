//! Bodies that change their coding on the way: answers that are compressed, requests that are unpacked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use sluice_tests::client::{Parsed, parse};
use sluice_tests::{Answer, Ask, Recorder, Reply, Stand, eventually, manifests};
use std::io::{Read, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const TOKENS: [&str; 3] = ["gzip", "br", "zstd"];

fn compressed(token: &str, body: &[u8]) -> Vec<u8> {
    match token {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(9));
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(body).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::encode_all(body, 19).unwrap(),
        other => panic!("{other}"),
    }
}

fn unpacked(token: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match token {
        "gzip" => MultiGzDecoder::new(body).read_to_end(&mut out).map(drop),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).map(drop),
        "zstd" => zstd::stream::copy_decode(body, &mut out),
        other => panic!("{other}"),
    }
    .unwrap_or_else(|error| panic!("{token}: {error}"));
    out
}

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
  - matches: [{{path: {{value: /}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}}]
  - matches: [{{path: {{value: /fail-first}}}}]
    retry: {{attempts: 2, codes: [503], backoff: 1ms}}
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: main.test, port: 80}}]
---
apiVersion: sluice.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: bodies}}
spec:
  targetRefs: [{{kind: Gateway, name: web}}]
  {policy}
",
        manifests::GATEWAY,
        manifests::backend("main.test", 80, "HTTP")
    )
}

async fn ask(stand: &Stand, http: u8, ask: &Ask) -> Answer {
    if http == 2 { stand.request_h2(ask).await } else { stand.request(ask).await }
}

/// A text that is the same in no two places, so that nothing is lost unseen.
fn text(bytes: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|number: u32| format!("line {number} of the text\n").into_bytes());
    lines.take(bytes).collect()
}

/// An answer in chunks, or with its length.
fn reply(body: &[u8], chunk: Option<usize>) -> Reply {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n";
    let mut bytes = head.as_bytes().to_vec();
    match chunk {
        None => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            bytes.extend_from_slice(body);
        }
        Some(size) => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(size) {
                bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                bytes.extend_from_slice(piece);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
    }
    Reply::Send(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_the_same_in_every_coding_and_version() {
    let body = text(700_000);
    for chunk in [None, Some(50_000)] {
        let sent = body.clone();
        let backend = Recorder::scripted(move |_| reply(&sent, chunk)).await;
        let mut stand = Stand::start(&yaml("compression: {}")).await;
        stand.fix("main.test", backend.address());
        stand.apply(&yaml("compression: {}")).await;
        for token in TOKENS {
            for http in [1, 2] {
                let answer =
                    ask(&stand, http, &Ask::get("http://a.test/").header("accept-encoding", token)).await;
                let what = format!("{token} HTTP/{http} chunks {chunk:?}");
                assert_eq!(answer.header("content-encoding"), Some(token), "{what}");
                assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{what}");
                assert_eq!(answer.header("etag"), Some("W/\"a\""), "{what}");
                assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (None, None));
                assert!(unpacked(token, &answer.body) == body, "{what}");
                assert!(answer.body.len() * 3 < body.len(), "{what}: {}", answer.body.len());
            }
        }
        stand.quiet().await;
        let metrics = stand.gateway().proxy().metrics().encode();
        for token in TOKENS {
            let counted = format!("sluice_compressed_responses_total{{encoding=\"{token}\"}} 2");
            assert!(metrics.contains(&counted), "{metrics}");
            let taken = format!("sluice_compression_bytes_total{{encoding=\"{token}\",side=\"in\"}} 1400000");
            assert!(metrics.contains(&taken), "{metrics}");
        }
    }
}

/// One connection for several answers: each is framed, so that the next one can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_goes_on_after_a_compressed_answer() {
    let stand = Stand::start(&yaml("compression: {minBytes: 0}")).await;
    let ask = Ask::get("http://a.test/").header("accept-encoding", "gzip");
    let mut wire = stand.wire(&ask).await;
    for number in 0..5 {
        let ask = Ask { target: format!("/{number}"), ..ask.clone() };
        let answer = wire.ask(&ask).await;
        let body = String::from_utf8(unpacked("gzip", &answer.body)).unwrap();
        assert!(body.contains(&format!("\"/{number}\"")), "{body}");
    }
    let head = Ask { method: "HEAD".to_owned(), ..ask.clone() };
    assert_eq!(wire.ask(&head).await.header("content-encoding"), Some("gzip"));
    assert_eq!(wire.ask(&ask).await.status, 200);
}

/// An HTTP/1.0 client knows no chunks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_client_gets_the_answer_as_it_is() {
    let stand = Stand::start(&yaml("compression: {minBytes: 0}")).await;
    let mut wire = stand.wire(&Ask::get("http://a.test/")).await;
    wire.send("GET / HTTP/1.0\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("content-encoding")), (200, None));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
}

/// An event goes out when it comes in: the backend sends the second one only after the client has read the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_is_not_held_back() {
    for token in TOKENS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (release, released) = oneshot::channel::<()>();
        let backend = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(b"e\r\ndata: first\n\n \r\n").await.unwrap();
            released.await.unwrap();
            stream.write_all(b"f\r\ndata: second\n\n \r\n0\r\n\r\n").await.unwrap();
            stream
        });
        let mut stand = Stand::start(&yaml("compression: {}")).await;
        stand.fix("main.test", address);
        stand.apply(&yaml("compression: {}")).await;
        let mut stream = tokio::net::TcpStream::connect(stand.address(80)).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        // The first event is there, in a chunk of its own, while the second one is not even sent.
        while !sluice_tests::soon("the first event", async {
            let at = got.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
            let chunk = at.and_then(|at| first_chunk(&got[at..]));
            if chunk.is_some_and(|chunk| begins(token, chunk, b"data: first\n\n ")) {
                return true;
            }
            stream.read_buf(&mut got).await.unwrap();
            false
        })
        .await
        {}
        release.send(()).unwrap();
        let _backend = backend.await.unwrap();
        while !got.ends_with(b"\r\n0\r\n\r\n") {
            sluice_tests::soon("the rest", stream.read_buf(&mut got)).await.unwrap();
        }
        let Ok(Parsed::Whole(answer, _)) = parse(&got, false) else { panic!("no whole answer") };
        assert_eq!(unpacked(token, &answer.body), b"data: first\n\n data: second\n\n ", "{token}");
    }
}

/// The bytes of the first chunk, when it is complete.
fn first_chunk(bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes.windows(2).position(|it| it == b"\r\n")?;
    let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
    bytes.get(line + 2..line + 2 + size)
}

/// Whether what is there of a body unfolds to these bytes.
fn begins(token: &str, body: &[u8], expected: &[u8]) -> bool {
    let mut out = vec![0; expected.len()];
    let read = match token {
        "gzip" => MultiGzDecoder::new(body).read_exact(&mut out),
        "br" => brotli::Decompressor::new(body, 4096).read_exact(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(body).unwrap().read_exact(&mut out),
        other => panic!("{other}"),
    };
    read.is_ok() && out == expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_sees_what_a_compressed_request_holds() {
    let stand = Stand::start(&yaml("decompression: {}")).await;
    let body = text(200_000);
    for token in TOKENS {
        let packed = compressed(token, &body);
        for http in [1, 2] {
            let post = Ask::new("POST", "http://a.test/stream").header("content-encoding", token);
            let answer = ask(&stand, http, &post.clone().body(packed.clone())).await;
            assert!(answer.body == body, "{token} HTTP/{http}: {} bytes", answer.body.len());
            let post = Ask { target: "/".to_owned(), ..post.header("content-digest", "sha-256=:AA==:") };
            let seen = ask(&stand, http, &post.body(compressed(token, b"hello"))).await;
            assert_eq!(seen.seen("body"), "hello");
            for field in ["content-encoding", "content-length", "content-digest"] {
                assert_eq!(seen.seen_header(field), None, "{token} HTTP/{http}");
            }
        }
        let mut wire = stand.wire(&Ask::get("http://a.test/")).await;
        let mut request = format!(
            "POST /stream HTTP/1.1\r\nHost: a.test\r\nContent-Encoding: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for piece in packed.chunks(100) {
            request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            request.extend_from_slice(piece);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        wire.send(request).await;
        assert!(wire.answer().await.body == body, "{token} in chunks");
        let metrics = stand.gateway().proxy().metrics().encode();
        assert!(
            metrics.contains(&format!("sluice_decompressed_requests_total{{encoding=\"{token}\"}} 5")),
            "{metrics}"
        );
    }
}

/// A further try sends the body from its first byte, so it is unpacked from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_tried_again_is_unpacked_again() {
    let stand = Stand::start(&yaml("decompression: {}")).await;
    for token in TOKENS {
        let url = format!("http://a.test/fail-first?n=1&key={token}&status=503");
        let post = Ask::new("POST", &url).header("content-encoding", token).body(compressed(token, b"hello"));
        let answer = stand.request(&post).await;
        assert_eq!((answer.status, answer.seen("body").as_str()), (200, "hello"), "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_unfolds_to_too_much_is_refused() {
    let policy = "decompression: {maxBytes: 100000, maxRatio: 500}";
    let mut stand = Stand::start(&yaml(policy)).await;
    let backend = Recorder::start().await;
    stand.fix("main.test", backend.address());
    stand.apply(&yaml(policy)).await;
    for token in TOKENS {
        for http in [1, 2] {
            let post = |body: &[u8]| {
                Ask::new("POST", "http://a.test/")
                    .header("content-encoding", token)
                    .body(compressed(token, body))
            };
            assert_eq!(ask(&stand, http, &post(&text(100_000))).await.status, 200, "{token}");
            let large = ask(&stand, http, &post(&text(100_001))).await;
            assert_eq!((large.status, large.text().trim()), (413, "body_too_large"), "{token}");
            // 90,000 zeros are few enough, but not of so few bytes.
            let bomb = ask(&stand, http, &post(&vec![0; 90_000])).await;
            assert_eq!((bomb.status, bomb.text().trim()), (413, "body_too_large"), "{token}");
            assert_eq!(
                ask(&stand, http, &post(&vec![0; 60_000])).await.status,
                200,
                "{token}: small ones are free"
            );
        }
    }
    assert!(backend.requests().iter().all(|it| it.body.len() <= 100_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_on_bodies_holds_for_what_is_unpacked() {
    let policy = "decompression: {}\n  limits: {requestBodyBytes: 1000}";
    let stand = Stand::start(&yaml(policy)).await;
    for token in TOKENS {
        let post = |bytes| {
            Ask::new("POST", "http://a.test/")
                .header("content-encoding", token)
                .body(compressed(token, &vec![b'x'; bytes]))
        };
        assert_eq!(stand.request(&post(1000)).await.status, 200, "{token}");
        assert_eq!(stand.request(&post(1001)).await.status, 413, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_cut_off_or_go_on_are_refused() {
    let stand = Stand::start(&yaml("decompression: {}")).await;
    for token in TOKENS {
        let body = compressed(token, &text(2_000));
        for wrong in [body[..body.len() - 1].to_vec(), [&body[..], b"more"].concat()] {
            for http in [1, 2] {
                let post =
                    Ask::new("POST", "http://a.test/").header("content-encoding", token).body(wrong.clone());
                let answer = ask(&stand, http, &post).await;
                assert_eq!(
                    (answer.status, answer.text().trim()),
                    (400, "body_undecodable"),
                    "{token} HTTP/{http}"
                );
            }
        }
    }
}

/// What is compressed at one time is bounded, and what ends is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_beyond_the_bound_go_as_they_are() {
    let stand = Stand::start(&yaml("compression: {maxConcurrent: 1, types: [text/*]}")).await;
    let sse = Ask::get("http://a.test/sse?events=100000&every=20ms").header("accept-encoding", "gzip");
    let mut held = stand.wire(&sse).await;
    held.send(sse.to_http1()).await;
    let metrics = || stand.gateway().proxy().metrics().encode();
    eventually("the first is compressed", || async {
        metrics().contains("sluice_compressed_responses_total{encoding=\"gzip\"} 1")
    })
    .await;
    let few = Ask::get("http://a.test/sse?events=2").header("accept-encoding", "gzip");
    let answer = stand.request(&few).await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, Some("Accept-Encoding")));
    assert!(answer.text().contains("event 1"));
    assert!(metrics().contains("sluice_compression_skipped_total 1"), "{}", metrics());
    drop(held);
    eventually("it is given back", || async {
        stand.request(&few).await.header("content-encoding") == Some("gzip")
    })
    .await;
}

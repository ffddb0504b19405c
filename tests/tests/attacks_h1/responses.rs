//! Backends that attack: their answers are checked like requests, and a connection that lies is not used again.

use crate::Target;
use sluice_tests::{Answer, Ask, Ended, Recorder, Reply, Wire};

/// A backend whose answer under `/public/bad` is these bytes.
async fn answering(bytes: Vec<u8>, close: bool) -> Target {
    Target::scripted(move |request| match (request.line().contains("/bad"), close) {
        (true, false) => Reply::Send(bytes.clone()),
        (true, true) => Reply::SendAndClose(bytes.clone()),
        (false, _) => Reply::ok(request.line()),
    })
    .await
}

async fn ask_bad(target: &Target) -> Result<Answer, Ended> {
    let mut wire: Wire = target.wire().await;
    wire.send("GET /public/bad HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    wire.read(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_no_http_is_502() {
    for (what, bytes) in [
        ("garbage", &b"\x01\x02garbage\r\n\r\n"[..]),
        ("nothing", b""),
        ("half a head", b"HTTP/1.1 200 OK\r\nX: y"),
        ("a head without status", b"HTTP/1.1 OK\r\n\r\n"),
        ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("a NUL in a field", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        ("differing lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nokmore"),
        ("a length that is no number", b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok"),
        ("a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
        ("a name with a space", b"HTTP/1.1 200 OK\r\nX y: z\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let target = answering(bytes.to_vec(), true).await;
        let answer = ask_bad(&target).await.unwrap_or_else(|ended| panic!("{what}: {ended:?}"));
        assert_eq!(answer.status, 502, "{what}: {answer:?}");
        target.unharmed(what).await;
    }
}

/// RFC 9112 §6.3: with both, chunked wins or the answer is refused; never both readings for the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_two_framings_reaches_the_client_with_one() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"
    );
    let target = answering(bytes.into_bytes(), false).await;
    match ask_bad(&target).await {
        Ok(answer) if answer.status == 502 => {}
        Ok(answer) => {
            assert_eq!(answer.text(), "ok", "{answer:?}");
            let framings = [answer.header("content-length"), answer.header("transfer-encoding")];
            assert_eq!(framings.iter().flatten().count(), 1, "{answer:?}");
        }
        Err(ended) => panic!("{ended:?}"),
    }
    for _ in 0..5 {
        target.unharmed("an answer with two framings").await;
    }
}

/// Bytes after an answer are an answer to nobody (response queue poisoning).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_an_answer_is_never_the_next_answer() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (what, first) in [
        ("after a length", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{poison}")),
        (
            "after chunks",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"),
        ),
        ("after a 204", format!("HTTP/1.1 204 No Content\r\n\r\n{poison}")),
        ("after a 304", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n{poison}")),
    ] {
        let target = answering(first.into_bytes(), false).await;
        let mut wire = target.wire().await;
        for _ in 0..5 {
            wire.send("GET /public/bad HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            let answer = wire.answer().await;
            assert!(!answer.text().contains("poison"), "{what}: {answer:?}");
            target.unharmed(what).await;
            if answer.closes() {
                wire = target.wire().await;
            }
        }
    }
}

/// An answer to HEAD has no body; what a backend sends as one must not become the next answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_answer_to_head_is_not_the_next_answer() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{poison}", poison.len());
    let target = answering(bytes.into_bytes(), false).await;
    for _ in 0..5 {
        let mut wire = target.wire().await;
        wire.send("HEAD /public/bad HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(wire.read(true).await.unwrap().status, 200);
        target.unharmed("a body in answer to HEAD").await;
    }
}

/// A cut answer must look cut, or a client takes half a file for a whole one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_never_looks_complete() {
    for (what, bytes) in [
        ("within a length", &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"[..]),
        ("within a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this"),
        ("between chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n"),
        ("with a broken chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\nxyz\r\n"),
    ] {
        let target = answering(bytes.to_vec(), true).await;
        match ask_bad(&target).await {
            Ok(answer) => assert_eq!(answer.status, 502, "{what}: complete: {answer:?}"),
            Err(Ended::Closed(_) | Ended::Failed(_)) => {}
            Err(ended) => panic!("{what}: {ended:?}"),
        }
        target.unharmed(what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_head_from_a_backend_is_502() {
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    for _ in 0..20_000 {
        bytes.extend_from_slice(format!("X: {}\r\n", "y".repeat(400)).as_bytes());
    }
    let target = answering(bytes, true).await;
    let answer = ask_bad(&target).await.unwrap();
    assert_eq!(answer.status, 502, "{} fields", answer.headers.len());
    target.unharmed("an endless head").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_without_end_do_not_grow_anything() {
    let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(20_000);
    bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let target = answering(bytes, false).await;
    match ask_bad(&target).await {
        Ok(answer) => assert!(matches!(answer.status, 200 | 502), "{}", answer.status),
        Err(ended) => assert!(matches!(ended, Ended::Closed(_) | Ended::Failed(_)), "{ended:?}"),
    }
    target.unharmed("interim answers without end").await;
}

/// A line break in a field's value would be the client's next field (response splitting).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_line_break_in_a_field_does_not_reach_the_client() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n\tSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = answering(bytes.to_vec(), false).await;
        let mut wire = target.wire().await;
        wire.send("GET /public/bad HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
        let raw = wire.rest().await;
        let text = String::from_utf8_lossy(&raw).into_owned();
        assert!(text.starts_with("HTTP/1.1 "), "{text}");
        let bare = text.as_bytes().windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
        assert!(!bare, "{text:?}");
        assert!(!text.contains("\r\n ") && !text.contains("\r\n\t"), "{text:?}");
        target.unharmed("a line break in a field").await;
    }
}

/// Fields of the backend's hop end here, whatever its `Connection` names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_the_backends_hop_end_here() {
    let bytes = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\n\
        Proxy-Connection: close\r\nUpgrade: h2c\r\nX-Other: 2\r\n\r\nok";
    let target = answering(bytes.into(), false).await;
    let answer = ask_bad(&target).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
    assert_eq!(answer.header("x-other"), Some("2"));
}

/// A backend that goes away between two requests costs no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_the_backend_has_closed_is_no_error() {
    let backend = Recorder::scripted(|request| {
        let body = request.line();
        Reply::SendAndClose(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        )
    })
    .await;
    let stand = sluice_tests::Stand::of_snapshot(crate::snapshot(backend.address(), |_| {})).await;
    let mut wire = Wire::connect(stand.address(80)).await;
    for number in 0..100 {
        let answer = wire.ask(&Ask::get("http://a.example/public")).await;
        assert_eq!(answer.status, 200, "request {number}: {answer:?}");
    }
}

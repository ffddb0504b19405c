//! Heads that are no heads: refused before anything is routed.

use crate::{SECRET, Target};

const HOST: &str = "Host: a.example\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_head_is_refused_with_everything_behind_it() {
    let target = Target::start().await;
    for (what, head) in [
        ("lines that end in LF", "GET /public HTTP/1.1\nHost: a.example\n\n".to_owned()),
        ("one line that ends in LF", format!("GET /public HTTP/1.1\r\nX: y\n{HOST}\r\n")),
        ("an empty line that is LF", format!("GET /public HTTP/1.1\r\n{HOST}\n")),
        ("a bare CR in a value", format!("GET /public HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n")),
        ("a bare CR as line end", "GET /public HTTP/1.1\rHost: a.example\r\r".to_owned() + "\r\n\r\n"),
        ("a folded line", format!("GET /public HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n")),
        ("a folded line with tab", format!("GET /public HTTP/1.1\r\n{HOST}X: a\r\n\tb\r\n\r\n")),
        ("a first line that is folded", format!("GET /public HTTP/1.1\r\n {HOST}\r\n")),
        ("a space before the colon", format!("GET /public HTTP/1.1\r\n{HOST}X : y\r\n\r\n")),
        ("no colon", format!("GET /public HTTP/1.1\r\n{HOST}X\r\n\r\n")),
        ("no name", format!("GET /public HTTP/1.1\r\n{HOST}: y\r\n\r\n")),
        ("a NUL in a value", format!("GET /public HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n")),
        ("a NUL in a name", format!("GET /public HTTP/1.1\r\n{HOST}X\0: b\r\n\r\n")),
        ("a control byte in a value", format!("GET /public HTTP/1.1\r\n{HOST}X: a\x01b\r\n\r\n")),
        ("a DEL in a value", format!("GET /public HTTP/1.1\r\n{HOST}X: a\x7fb\r\n\r\n")),
        ("a quote in a name", format!("GET /public HTTP/1.1\r\n{HOST}X\"Y: b\r\n\r\n")),
        ("a name that is no ASCII", format!("GET /public HTTP/1.1\r\n{HOST}Xé: b\r\n\r\n")),
        ("a space in the target", format!("GET /public /x HTTP/1.1\r\n{HOST}\r\n")),
        ("two spaces", format!("GET  /public HTTP/1.1\r\n{HOST}\r\n")),
        ("a tab between the words", format!("GET\t/public\tHTTP/1.1\r\n{HOST}\r\n")),
        ("a NUL in the target", format!("GET /public\0 HTTP/1.1\r\n{HOST}\r\n")),
        ("a control byte in the target", format!("GET /public\x0b HTTP/1.1\r\n{HOST}\r\n")),
        ("a fragment in the target", format!("GET /public#x HTTP/1.1\r\n{HOST}\r\n")),
        ("a target without slash", format!("GET public HTTP/1.1\r\n{HOST}\r\n")),
        ("no target", format!("GET HTTP/1.1\r\n{HOST}\r\n")),
        ("a percent sign alone", format!("GET /public% HTTP/1.1\r\n{HOST}\r\n")),
        ("an encoded NUL", format!("GET /public/%00 HTTP/1.1\r\n{HOST}\r\n")),
        ("a method with a colon", format!("G:T /public HTTP/1.1\r\n{HOST}\r\n")),
        ("a method in brackets", format!("(GET) /public HTTP/1.1\r\n{HOST}\r\n")),
        ("HTTP/0.9", "GET /public\r\n\r\n".to_owned()),
        ("HTTP/2.0 as a version", format!("GET /public HTTP/2.0\r\n{HOST}\r\n")),
        ("HTTP/1.2", format!("GET /public HTTP/1.2\r\n{HOST}\r\n")),
        ("http/1.1", format!("GET /public http/1.1\r\n{HOST}\r\n")),
        ("HTTP/1.10", format!("GET /public HTTP/1.10\r\n{HOST}\r\n")),
        ("HTTP/1,1", format!("GET /public HTTP/1,1\r\n{HOST}\r\n")),
        ("garbage", "\x01\x02\x03\r\n\r\n".to_owned()),
        ("an answer as a request", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
    ] {
        target.refuses(what, head + SECRET, 400).await;
    }
    assert!(!target.backend.saw("/secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_any_kind_are_answered_or_closed_and_never_forwarded() {
    let target = Target::start().await;
    // A fixed sequence that looks random: the same on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..60 {
        let mut bytes = Vec::new();
        for _ in 0..(round * 7 + 1) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.push(state.to_le_bytes()[0]);
        }
        let mut wire = target.wire().await;
        wire.send(&bytes).await;
        wire.send(b"\r\n\r\n").await;
        wire.finish().await;
        let answer = wire.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    target.unharmed("random bytes").await;
    assert_eq!(target.backend.lines().len(), 1);
}

/// A valid request broken at every place by every byte: never two answers for one request, never a panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_byte_anywhere_is_harmless() {
    let target = Target::start().await;
    let request = b"POST /public/x?a=b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nok";
    for at in 0..request.len() {
        for byte in [b'\0', b'\n', b'\r', b' ', b'\t', b':', b',', b'0', b'9', 0x80, 0xff] {
            let mut bytes = request.to_vec();
            bytes[at] = byte;
            let mut wire = target.wire().await;
            wire.send(&bytes).await;
            wire.finish().await;
            let answer = wire.rest().await;
            let text = String::from_utf8_lossy(&answer);
            let finals = text.matches("HTTP/1.1 ").count() - text.matches("POST /public").count().min(1);
            assert!(finals <= 2, "byte {byte} at {at}: {text}");
        }
    }
    target.unharmed("wrong bytes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_no_method_of_a_gateway() {
    let target = Target::start().await;
    for line in
        ["CONNECT a.example:443 HTTP/1.1", "CONNECT 127.0.0.1:22 HTTP/1.1", "CONNECT /public HTTP/1.1"]
    {
        let mut wire = target.wire().await;
        wire.send(format!("{line}\r\n{HOST}\r\n{SECRET}")).await;
        let answer = wire.answer().await;
        assert!(matches!(answer.status, 400 | 405), "{line}: {answer:?}");
        target.unharmed(line).await;
    }
}

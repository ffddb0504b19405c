//! A way through a proxy: CONNECT (RFC 9110 §9.3.6) on a connection to it, over TLS or plain. What follows the proxy's
//! answer is the target's: not a byte more than the answer is read.

use parking_lot::Mutex;
use sluice_ir::Tunnel;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of one head of an answer.
const HEAD_BYTES: usize = 8 * 1024;
/// Answers 1xx that may come before the one that counts.
const INTERIM_ANSWERS: usize = 4;
/// Refusals of proxies are logged at most so often; the metrics count each connection that failed.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Has the proxy connect to the target. Bounds no time: the caller does.
///
/// # Errors
/// When the proxy refuses, answers something else than HTTP/1, or breaks the connection.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: SocketAddr,
    to: &Tunnel,
) -> io::Result<()> {
    let opened = ask(stream, to).await;
    if let Err(error) = &opened {
        say(proxy, to, error);
    }
    opened
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, to: &Tunnel) -> io::Result<()> {
    let Tunnel { host, port } = to;
    let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    for _ in 0..=INTERIM_ANSWERS {
        match status(&head(stream).await?) {
            Some(100..=199) => {}
            // A body is none here, whatever the fields say.
            Some(200..=299) => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("the proxy answers {status}"))),
            None => return Err(io::Error::other("the proxy does not answer in HTTP/1")),
        }
    }
    Err(io::Error::other("the proxy does not come to an end with its answers"))
}

/// One head, with its empty line.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(128);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// Of `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|it| *it == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, after) = rest.split_at_checked(3)?;
    let is_status = digits.iter().all(u8::is_ascii_digit) && after.first().is_none_or(|it| *it == b' ');
    if !is_status {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|it| *it >= 100)
}

fn say(proxy: SocketAddr, to: &Tunnel, error: &io::Error) {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock();
    if said.is_none_or(|it| it.elapsed() >= SAID_AGAIN) {
        *said = Some(Instant::now());
        tracing::warn!(%proxy, host = to.host, port = to.port, %error, "no tunnel through a proxy");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{HEAD_BYTES, open, status};
    use sluice_ir::Tunnel;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    async fn asked(answer: &[u8]) -> (std::io::Result<()>, String, String) {
        let (mut ours, mut proxy) = duplex(64 * 1024);
        proxy.write_all(answer).await.unwrap();
        proxy.shutdown().await.unwrap();
        let tunnel = Tunnel { host: "db.example".to_owned(), port: 443 };
        let opened = open(&mut ours, "127.0.0.1:3128".parse().unwrap(), &tunnel).await;
        ours.shutdown().await.unwrap();
        let (mut request, mut rest) = (String::new(), String::new());
        proxy.read_to_string(&mut request).await.unwrap();
        ours.read_to_string(&mut rest).await.unwrap();
        (opened, request, rest)
    }

    #[tokio::test]
    async fn what_follows_the_answer_is_left_for_the_caller() {
        let (opened, request, rest) =
            asked(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello").await;
        opened.unwrap();
        assert_eq!(request, "CONNECT db.example:443 HTTP/1.1\r\nHost: db.example:443\r\n\r\n");
        assert_eq!(rest, "hello");
        let (opened, _, rest) = asked(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 204 \r\n\r\nx").await;
        opened.unwrap();
        assert_eq!(rest, "x");
    }

    #[tokio::test]
    async fn everything_else_is_no_tunnel() {
        let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; HEAD_BYTES]].concat();
        for answer in [
            b"HTTP/1.1 407 Who are you\r\n\r\n".as_slice(),
            b"HTTP/2 200\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"",
            &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(9),
            &long,
        ] {
            assert!(asked(answer).await.0.is_err(), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn a_status_has_three_digits() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.1 200\r\n", Some(200)),
            ("HTTP/1.1 2000 OK\r\n", None),
            ("HTTP/1.1 +20 OK\r\n", None),
            ("HTTP/1.1 099 OK\r\n", None),
            ("HTTP/1.1 20\r\n", None),
            ("HTTP/1.2 200 OK\r\n", None),
        ] {
            assert_eq!(status(head.as_bytes()), expected, "{head}");
        }
    }
}

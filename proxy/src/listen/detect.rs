//! What a connection brings, by the first bytes of its client: TLS, requests, or anything else. Nothing is taken from the
//! socket. A client that says nothing for a while waits for the server to speak first.

use super::hello::{self, Hello};
use super::peek;
use super::secure::NoTls;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// How long first bytes are waited for where nothing else is set.
pub const DETECTION: Duration = Duration::from_millis(200);

/// Bytes of a request line that are looked at; a longer one that has begun like one is one.
const LINE_BYTES: usize = 1024;

/// How HTTP/2 by prior knowledge starts (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest method that is taken for one.
const METHOD_BYTES: usize = 24;

/// What comes.
#[derive(Debug)]
pub(super) enum First {
    /// TLS, with this ClientHello.
    Tls(Hello),
    /// HTTP/1, or HTTP/2 by prior knowledge.
    Requests,
    /// Something else, or nothing yet.
    Other,
    /// Nobody is there any more.
    Left,
}

/// What bytes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    Tls,
    Requests,
    Other,
    /// More bytes are needed; whether what is there looks like requests.
    Open(bool),
}

/// Looks at what comes first, for at most `wait`; a ClientHello that has begun may take until `deadline`.
///
/// # Errors
/// When a ClientHello is none, or does not end in time.
pub(super) async fn first(socket: &TcpStream, wait: Duration, deadline: Instant) -> Result<First, NoTls> {
    let mut buffer = vec![0; LINE_BYTES];
    let (mut seen, mut guess) = (0, Guess::Open(false));
    let end = (Instant::now() + wait).min(deadline);
    while let Guess::Open(looks_like_requests) = guess {
        let Ok(more) = timeout_at(end, peek::more(socket, &mut buffer, seen)).await else {
            return Ok(if looks_like_requests { First::Requests } else { First::Other });
        };
        match more {
            Err(_) => return Ok(First::Left),
            Ok(None) if seen == 0 => return Ok(First::Left),
            // No more will come: what is there is all.
            Ok(None) => return Ok(First::Other),
            Ok(Some(len)) => seen = len,
        }
        guess = judge(&buffer[..seen]);
        if seen == buffer.len() && guess == Guess::Open(true) {
            guess = Guess::Requests;
        }
    }
    match guess {
        Guess::Requests => Ok(First::Requests),
        Guess::Tls => match timeout_at(deadline, hello::wait_for(socket)).await {
            Ok(hello) => hello.map(First::Tls),
            Err(_) => Err(NoTls::Failed("no ClientHello in time".to_owned())),
        },
        Guess::Other | Guess::Open(_) => Ok(First::Other),
    }
}

fn judge(bytes: &[u8]) -> Guess {
    match bytes {
        [] => Guess::Open(false),
        // A record of a handshake, of any version that was ever written there (RFC 8446 §5.1).
        [22, 3, 0..=4, ..] => Guess::Tls,
        [22] | [22, 3] => Guess::Open(false),
        bytes if H2_PREFACE.starts_with(&bytes[..bytes.len().min(H2_PREFACE.len())]) => {
            if bytes.len() >= H2_PREFACE.len() { Guess::Requests } else { Guess::Open(true) }
        }
        bytes => line(bytes),
    }
}

/// RFC 9112 §3: method, target and version, each parted by one space. An empty line before is passed over (§2.2).
fn line(bytes: &[u8]) -> Guess {
    let bytes = match bytes {
        [b'\r'] | [b'\r', b'\n'] => return Guess::Open(false),
        [b'\r', b'\n', rest @ ..] => rest,
        all => all,
    };
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    if method == bytes.len() && method <= METHOD_BYTES {
        return Guess::Open(false);
    }
    if method == 0 || method > METHOD_BYTES || bytes.get(method) != Some(&b' ') {
        return Guess::Other;
    }
    let rest = bytes.get(method + 1..).unwrap_or_default();
    // origin-form, absolute-form, asterisk-form; CONNECT names an authority.
    let is_target =
        |first: u8| first == b'/' || first == b'*' || first.is_ascii_alphanumeric() || first == b'[';
    match rest.first() {
        None => return Guess::Open(true),
        Some(first) if !is_target(*first) => return Guess::Other,
        Some(_) => {}
    }
    match rest.iter().position(|byte| *byte == b'\n') {
        None => Guess::Open(true),
        Some(end) => {
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
                Guess::Requests
            } else {
                Guess::Other
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{First, Guess, H2_PREFACE, first, judge};
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    #[test]
    fn requests_are_told_from_everything_else_by_their_first_line() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
            "\r\nPOST http://a/ HTTP/1.0\r\n",
        ] {
            assert_eq!(judge(line.as_bytes()), Guess::Requests, "{line:?}");
            for end in 0..line.len() {
                assert!(matches!(judge(&line.as_bytes()[..end]), Guess::Open(_)), "{line:?} {end}");
            }
        }
        for other in [
            "GET key\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "get a\r\n",
            "SSH-2.0-a\r\n",
            "HELO a\r\n",
            "\x00\x01",
            "\x04\x00",
            "get / HTTP/1.1\r\n",
        ] {
            assert_eq!(judge(other.as_bytes()), Guess::Other, "{other:?}");
        }
        assert_eq!(judge(H2_PREFACE), Guess::Requests);
        assert_eq!(judge(&[22, 3, 1]), Guess::Tls);
        assert_eq!(judge(&[22, 9]), Guess::Other);
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_waited_for_no_longer_than_that() {
        let (mut client, server) = pair().await;
        let (wait, deadline) = (Duration::from_millis(20), Instant::now() + Duration::from_secs(5));
        let begun = Instant::now();
        assert!(matches!(first(&server, wait, deadline).await, Ok(First::Other)));
        assert!(begun.elapsed() >= wait && begun.elapsed() < Duration::from_secs(2));
        client.write_all(b"GET /a").await.unwrap();
        assert!(matches!(first(&server, wait, deadline).await, Ok(First::Requests)));
        drop(client);
        let (client, server) = pair().await;
        drop(client);
        assert!(matches!(first(&server, wait, deadline).await, Ok(First::Left)));
    }
}

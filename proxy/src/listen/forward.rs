//! The first request of a connection to a forward proxy: a tunnel (CONNECT, RFC 9110 §9.3.6), or requests as ever.
//!
//! The head is looked at in the socket and taken only when it asks for a tunnel, so that whoever reads requests finds it
//! whole, and what follows the head belongs to the tunnel.

use super::connection::Port;
use super::head::{self, HeadEnd, Refusal};
use super::stream::Chosen;
use super::{PortConfig, answer, peek};
use crate::telemetry::Outcome;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Bytes that are looked at first.
const FIRST_BYTES: usize = 1024;
/// How a request for a tunnel begins.
const CONNECT: &[u8] = b"CONNECT ";
/// What says that a tunnel is open.
pub(crate) const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Where a tunnel is to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Lower case, without trailing dot: a name, or an IP address without brackets.
    pub host: Arc<str>,
    /// 1 to 65535.
    pub port: u16,
}

impl Destination {
    /// `HOST:PORT`.
    pub fn name(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// What a connection begins with.
enum First {
    /// Requests, all still in the socket.
    Requests,
    /// A tunnel; its head is taken.
    Tunnel(Destination),
    /// A tunnel that can't be.
    Refused(Refusal),
    /// The client left.
    Left,
}

/// Looks at what comes first.
async fn first(socket: &mut TcpStream, config: &PortConfig) -> First {
    let deadline = Instant::now() + config.limits.request_head_timeout;
    match timeout_at(deadline, look(socket, config)).await {
        Ok(Ok(first)) => first,
        Ok(Err(_)) => First::Left,
        Err(_) => First::Refused(Refusal::new(Outcome::HeadTimeout, "the request head took too long")),
    }
}

async fn look(socket: &mut TcpStream, config: &PortConfig) -> io::Result<First> {
    let max = config.limits.request_head_bytes as usize;
    let mut buffer = vec![0; FIRST_BYTES.min(max.max(CONNECT.len()))];
    let mut seen = 0;
    loop {
        let Some(len) = peek::more(socket, &mut buffer, seen).await? else { return Ok(First::Left) };
        seen = len;
        let bytes = &buffer[..len];
        if !bytes.starts_with(&CONNECT[..CONNECT.len().min(len)]) {
            return Ok(First::Requests);
        }
        match HeadEnd::default().find(bytes) {
            Err(refusal) => return Ok(First::Refused(refusal)),
            Ok(Some(head_len)) => {
                let mut head = vec![0; head_len];
                socket.read_exact(&mut head).await?;
                let destination = head::connect(&head, config.limits.request_headers);
                return Ok(destination.map_or_else(First::Refused, First::Tunnel));
            }
            Ok(None) if len >= max => {
                let refusal = Refusal::new(Outcome::HeadTooLarge, "the request head is too large");
                return Ok(First::Refused(refusal));
            }
            Ok(None) if len == buffer.len() => buffer.resize((2 * len).min(max), 0),
            Ok(None) => {}
        }
    }
}

/// What the connection to a forward proxy is, by its first request. The socket comes back unless it is refused.
pub(super) async fn choose<A>(
    port: &Port<A>,
    mut socket: TcpStream,
    peer: SocketAddr,
    config: &PortConfig,
) -> Option<(TcpStream, Chosen)> {
    let (refusal, destination) = match first(&mut socket, config).await {
        First::Requests => return Some((socket, Chosen::Requests)),
        First::Left => return None,
        First::Refused(refusal) => (refusal, None),
        First::Tunnel(to) => match port.streams.tunnel(port.key, &to) {
            Ok(stream) => return Some((socket, Chosen::Stream(stream))),
            Err(reason) => (Refusal::new(Outcome::EgressRefused, reason), Some(to)),
        },
    };
    refuse(port, socket, peer, refusal, destination.as_ref()).await;
    None
}

/// Answers a tunnel that is refused, and tells the observer.
async fn refuse<A>(
    port: &Port<A>,
    mut socket: TcpStream,
    peer: SocketAddr,
    refusal: Refusal,
    destination: Option<&Destination>,
) {
    let line = destination.map(|it| format!("CONNECT {} HTTP/1.1", it.name()));
    port.observer.refused(&super::Refused {
        port: port.key,
        peer,
        tls: false,
        outcome: refusal.outcome,
        reason: refusal.reason,
        server_name: None,
        head: Some(line.as_deref().unwrap_or_default().as_bytes()),
        connection: None,
    });
    if socket.write_all(answer::render(refusal).as_bytes()).await.is_ok() {
        let _ = socket.shutdown().await;
        super::io::linger(socket).await;
    }
}

/// The answer in place of a tunnel.
pub(crate) fn refusal(outcome: Outcome, reason: &'static str) -> String {
    answer::render(Refusal::new(outcome, reason))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{First, first};
    use crate::listen::PortConfig;
    use crate::telemetry::Outcome;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_head_is_taken_and_nothing_behind_it_however_slowly_it_comes() {
        let (mut client, mut server) = pair().await;
        let sending = tokio::spawn(async move {
            for part in
                b"CONNECT Api.Example.com.:443 HTTP/1.1\r\nHost: api.example.com.:443\r\n\r\nrest".chunks(7)
            {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let First::Tunnel(destination) = first(&mut server, &PortConfig::default()).await else { panic!() };
        assert_eq!(destination.name(), "api.example.com:443");
        drop(sending.await.unwrap());
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "rest");
    }

    #[tokio::test]
    async fn requests_stay_in_the_socket() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"GET http://a.test/ HTTP/1.1\r\n").await.unwrap();
        assert!(matches!(first(&mut server, &PortConfig::default()).await, First::Requests));
        drop(client);
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "GET http://a.test/ HTTP/1.1\r\n");
    }

    #[tokio::test]
    async fn a_head_that_is_wrong_too_large_or_too_slow_is_refused() {
        let mut config = PortConfig::default();
        config.limits.request_head_bytes = 64;
        config.limits.request_head_timeout = std::time::Duration::from_millis(50);
        for (sent, outcome) in [
            ("CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(), Outcome::BadRequest),
            ("CONNECT a.test:443 HTTP/1.1\nHost".to_owned(), Outcome::BadRequest),
            (format!("CONNECT {}:443 HTTP/1.1\r\n", "a".repeat(80)), Outcome::HeadTooLarge),
            ("CONNECT a.test:443".to_owned(), Outcome::HeadTimeout),
        ] {
            let (mut client, mut server) = pair().await;
            client.write_all(sent.as_bytes()).await.unwrap();
            let First::Refused(refusal) = first(&mut server, &config).await else { panic!("{sent}") };
            assert_eq!(refusal.outcome, outcome, "{sent}");
        }
        let (client, mut server) = pair().await;
        drop(client);
        assert!(matches!(first(&mut server, &config).await, First::Left));
    }
}

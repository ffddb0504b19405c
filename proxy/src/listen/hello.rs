//! Looks at a ClientHello without taking it from the socket, so that whoever the connection goes to finds it whole.

use super::peek;
use super::secure::{self, NoTls};
use crate::acme::is_asked;
use rustls::server::Acceptor;
use tokio::net::TcpStream;

/// Bytes that are looked at first; most hellos are smaller.
const FIRST_BYTES: usize = 2 * 1024;
/// Largest hello that is taken, records included.
const MOST_BYTES: usize = 32 * 1024;
/// A hello may come in so many records; more are a waste of our time.
const MOST_LOOKS: usize = 16;
/// Type and header length of a TLS record with a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 5;

/// What a ClientHello says of where its connection belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// `None`: it has none.
    pub(super) server_name: Option<String>,
    /// A certificate authority wants to see a proof, and nothing else (RFC 8737 §3).
    pub(super) asks_proof: bool,
    /// What is within, where a sidecar of the mesh speaks.
    pub(super) within: Option<Within>,
}

/// What is within the mesh's TLS. Its clients say it by ALPN, and so is nothing guessed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// `istio-http/1.1`, `istio-http/1.0`
    Http1,
    /// `istio-h2`
    Http2,
    /// `istio`, `istio-peer-exchange`: anything.
    Whole,
}

impl Within {
    /// `None`: no client of the mesh.
    fn of<'a>(offered: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut within = None;
        for protocol in offered {
            match protocol {
                b"istio-h2" => return Some(Self::Http2),
                b"istio-http/1.1" | b"istio-http/1.0" => return Some(Self::Http1),
                b"istio" | b"istio-peer-exchange" => within = Some(Self::Whole),
                _ => {}
            }
        }
        within
    }
}

/// The hello that waits in the socket. Give the connection up when the deadline passes.
pub(super) async fn wait_for(socket: &TcpStream) -> Result<Hello, NoTls> {
    let mut buffer = vec![0; FIRST_BYTES];
    let (mut seen, mut looks) = (0, 0);
    loop {
        let Some(len) = peek::more(socket, &mut buffer, seen).await? else {
            return Err(match seen {
                0 => NoTls::Left,
                _ => NoTls::Failed("ended within the ClientHello".to_owned()),
            });
        };
        seen = len;
        if let Some(read) = read(&buffer[..len]) {
            return read.map_err(NoTls::Failed);
        }
        if len > RECORD_HEADER {
            looks += usize::from(first_record(&buffer[..len]).is_some());
        }
        if looks >= MOST_LOOKS {
            return Err(NoTls::Failed("a ClientHello in too many records".to_owned()));
        }
        if len == buffer.len() {
            if len >= MOST_BYTES {
                return Err(NoTls::Failed("a ClientHello above the limit".to_owned()));
            }
            buffer.resize((2 * len).min(MOST_BYTES), 0);
        }
    }
}

/// The server name of the hello that waits in the socket, as [`wait_for`] finds it, or why there is none.
pub(crate) async fn server_name(socket: &TcpStream) -> Result<Option<String>, String> {
    wait_for(socket).await.map(|hello| hello.server_name).map_err(|failure| match failure {
        NoTls::Failed(reason) => reason,
        NoTls::PlainHttp(_) | NoTls::Left | NoTls::Challenge(_) => "the client left".to_owned(),
    })
}

/// Length of the first record, once it is there as a whole.
fn first_record(bytes: &[u8]) -> Option<usize> {
    let length = RECORD_HEADER + usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    (bytes.len() >= length).then_some(length)
}

/// What the hello says, or what is wrong; `None` when more bytes are needed. Costs nothing until the first record is whole.
fn read(bytes: &[u8]) -> Option<Result<Hello, String>> {
    if bytes.first().is_some_and(|first| *first != HANDSHAKE) {
        return Some(Err("the client speaks no TLS".to_owned()));
    }
    first_record(bytes)?;
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Err(error) = acceptor.read_tls(&mut rest) {
            return Some(Err(error.to_string()));
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let (server_name, asks_proof) = (secure::server_name(&hello), is_asked(&hello));
                let within = hello.alpn().and_then(Within::of);
                return Some(Ok(Hello { server_name, asks_proof, within }));
            }
            Ok(None) => {}
            Err((error, _)) => return Some(Err(error.to_string())),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Hello, MOST_LOOKS, NoTls, Within, read, wait_for};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    fn hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same hello in records of so many bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let records = hello[5..].chunks(size).flat_map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], &length[..], part].concat()
        });
        records.collect()
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[test]
    fn a_name_is_read_when_the_hello_is_whole() {
        let hello = hello("Www.Example.com");
        for end in 0..hello.len() {
            assert!(read(&hello[..end]).is_none(), "{end}");
        }
        let server_name = Some("www.example.com".to_owned());
        let expected = Hello { server_name, asks_proof: false, within: None };
        assert_eq!(read(&hello), Some(Ok(expected.clone())));
        assert_eq!(read(&in_records(&hello, 100)), Some(Ok(expected)));
        assert!(read(b"GET / HTTP/1.1\r\n\r\n").unwrap().is_err());
    }

    #[test]
    fn what_is_within_the_tls_of_the_mesh_is_said_by_its_names() {
        let within = |offered: &[&'static str]| Within::of(offered.iter().map(|it| it.as_bytes()));
        assert_eq!(within(&["istio-h2", "istio", "h2"]), Some(Within::Http2));
        assert_eq!(within(&["istio", "istio-http/1.1", "http/1.1"]), Some(Within::Http1));
        assert_eq!(within(&["istio-peer-exchange", "istio", "h2"]), Some(Within::Whole));
        assert_eq!(within(&["h2", "http/1.1"]), None);
    }

    #[tokio::test]
    async fn looking_takes_nothing_however_slowly_the_hello_comes() {
        let hello = hello("www.example.com");
        let (mut client, mut server) = pair().await;
        let sent = hello.clone();
        let sending = tokio::spawn(async move {
            for part in sent.chunks(97) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let seen = wait_for(&server).await.ok().and_then(|hello| hello.server_name);
        assert_eq!(seen.as_deref(), Some("www.example.com"));
        let _client = sending.await.unwrap();
        let mut got = vec![0; hello.len()];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(got, hello);
    }

    #[tokio::test]
    async fn a_client_that_leaves_or_dawdles_is_given_up() {
        let (client, server) = pair().await;
        drop(client);
        assert!(matches!(wait_for(&server).await, Err(NoTls::Left)));
        let (mut client, server) = pair().await;
        client.write_all(&hello("a.test")[..50]).await.unwrap();
        drop(client);
        assert!(matches!(wait_for(&server).await, Err(NoTls::Failed(_))));
        let (mut client, server) = pair().await;
        let looking = tokio::spawn(async move { (wait_for(&server).await, server) });
        let dripping = in_records(&hello("a.test"), 3);
        for record in dripping.chunks(8).take(4 * MOST_LOOKS) {
            client.write_all(record).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        assert!(matches!(looking.await.unwrap().0, Err(NoTls::Failed(_)) | Ok(_)));
    }
}

//! One client connection, plain or TLS, and one exchange on it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::response::{self, Head};

/// Bytes read at once; also the longest response head.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where the load goes.
#[derive(Clone)]
pub(crate) struct Target {
    /// Address of the proxy.
    pub(crate) address: SocketAddr,
    /// How to speak TLS, and the server name to ask for; `None`: plain.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What a plain connection opens with, before anything else: a ClientHello for a proxy that only reads that.
    pub(crate) opening: Option<Bytes>,
}

impl Target {
    /// A plain connection.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, opening: None }
    }

    /// TLS with a server of this name.
    pub(crate) fn tls(address: SocketAddr, config: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        Self { address, tls: Some((config, name)), opening: None }
    }
}

/// How an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection could not be made.
    #[error("connect: {0}")]
    Connect(std::io::Error),
    /// Not one byte of an answer came.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The answer ended early.
    #[error("answer cut short")]
    Cut,
    /// The answer is not one that a load can judge.
    #[error("{0}")]
    Malformed(&'static str),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// Another body length than the backend sent.
    #[error("wrong body length")]
    Length,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// An open connection with its read buffer.
pub(crate) struct Link {
    stream: Stream,
    buffer: Vec<u8>,
    /// Bytes of the last answer that are in `buffer`.
    filled: usize,
}

impl Link {
    /// Connects and, for TLS, shakes hands. The buffer is taken from `spare` when there is one.
    pub(crate) async fn connect(target: &Target, spare: Option<Vec<u8>>) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(target.address).await.map_err(Failure::Connect)?;
        tcp.set_nodelay(true).map_err(Failure::Connect)?;
        let stream = match &target.tls {
            None => {
                let mut tcp = tcp;
                if let Some(opening) = &target.opening {
                    tcp.write_all(opening).await.map_err(Failure::Connect)?;
                }
                Stream::Plain(tcp)
            }
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                Stream::Tls(Box::new(connector.connect(name.clone(), tcp).await.map_err(Failure::Connect)?))
            }
        };
        Ok(Self { stream, buffer: spare.unwrap_or_else(|| vec![0; BUFFER_BYTES]), filled: 0 })
    }

    /// Gives the buffer back, for the next connection.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The certificate that the server showed; `None` on a plain connection.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// The value of `name` (lower case) in the head of the last answer.
    pub(crate) fn header(&self, name: &[u8]) -> Option<&[u8]> {
        let end = response::end_of_head(&self.buffer[..self.filled])?;
        response::header(&self.buffer[..end], name)
    }

    /// Sends `request` and reads the whole answer, which must be 200 with `body_bytes` bytes.
    pub(crate) async fn exchange(&mut self, request: &[u8], body_bytes: u64) -> Result<Head, Failure> {
        self.filled = 0;
        self.write(request).await.map_err(|error| Failure::NoAnswer(error.kind().to_string()))?;
        let head = self.read_head().await?;
        let announced = head.body_bytes.ok_or(match head.status {
            200 => Failure::Malformed("no content-length"),
            status => Failure::Status(status),
        })?;
        if head.status == 200 && announced != body_bytes {
            return Err(Failure::Length);
        }
        let received = (self.filled - head.length) as u64;
        self.filled = head.length;
        self.discard_body(announced, received).await?;
        if head.status == 200 { Ok(head) } else { Err(Failure::Status(head.status)) }
    }

    async fn read_head(&mut self) -> Result<Head, Failure> {
        loop {
            let read = match self.read().await {
                Ok(read) => read,
                Err(error) if self.filled == 0 => return Err(Failure::NoAnswer(error.kind().to_string())),
                Err(_) => return Err(Failure::Cut),
            };
            match read {
                0 if self.filled == 0 => return Err(Failure::NoAnswer("closed".to_owned())),
                0 if self.filled == self.buffer.len() => {
                    return Err(Failure::Malformed("response head too long"));
                }
                0 => return Err(Failure::Cut),
                read => self.filled += read,
            }
            if let Some(head) = response::parse(&self.buffer[..self.filled]).map_err(Failure::Malformed)? {
                return Ok(head);
            }
        }
    }

    /// Reads the rest of a body behind the head, which stays for `header`.
    async fn discard_body(&mut self, body_bytes: u64, mut received: u64) -> Result<(), Failure> {
        while received < body_bytes {
            match self.read().await {
                Ok(0) | Err(_) => return Err(Failure::Cut),
                Ok(read) => received += read as u64,
            }
        }
        if received > body_bytes { Err(Failure::Malformed("more bytes than announced")) } else { Ok(()) }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes).await,
            Stream::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        let free = &mut self.buffer[self.filled..];
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(free).await,
            Stream::Tls(tls) => tls.read(free).await,
        }
    }
}

//! From a server's settings to a connection that answers: address, TCP, TLS, password, database, and a first run of the
//! script. What is told of a failure never has a word of the password in it.

use super::resp::{self, Reply};
use super::script;
use crate::upstream::{ClientError, Resolver, TlsDial};
use bytes::BytesMut;
use sluice_ir as ir;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;
/// TCP, TLS and the first words with one address.
const ADDRESS_TIME: Duration = Duration::from_secs(2);
/// Silence after which the system asks whether the server is still there, and between two such questions.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Bytes both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// The name leads nowhere.
    #[error("its name can't be resolved: {0}")]
    Name(String),
    /// Nobody is there, or the TLS failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It says nothing.
    #[error("no answer within {:?}", ADDRESS_TIME)]
    Silent,
    /// It is not what it should be.
    #[error(transparent)]
    Malformed(#[from] resp::Malformed),
    /// It does not take the password. Only its word in capitals is told: some servers repeat what they were sent.
    #[error("it refuses user or password ({0}): see the Secret of credentialsRef")]
    Password(String),
    /// It wants one.
    #[error("it asks for a password: set credentialsRef")]
    NoPassword,
    /// It refuses something else.
    #[error("it refuses {what}: {error}")]
    Refused {
        /// What it was asked for.
        what: &'static str,
        /// Its words.
        error: String,
    },
}

/// How a server is reached.
pub(super) struct Login {
    host: Arc<str>,
    port: u16,
    database: u16,
    username: Option<String>,
    password: Option<ir::Password>,
    tls: Option<TlsDial>,
    resolver: Resolver,
}

impl Login {
    pub(super) fn new(server: &ir::RateServer, resolver: Resolver) -> Result<Self, ClientError> {
        Ok(Self {
            host: server.host.as_str().into(),
            port: server.port,
            database: server.database,
            username: server.username.clone(),
            password: server.password.clone(),
            tls: server.tls.as_deref().map(TlsDial::new).transpose()?,
            resolver,
        })
    }

    /// A connection that answers. Bounds its own time.
    pub(super) async fn connect(&self) -> Result<Box<dyn Io>, LoginError> {
        let mut failed = None;
        for address in self.addresses().await? {
            match tokio::time::timeout(ADDRESS_TIME, self.connect_to(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(LoginError::Silent),
            }
        }
        Err(failed.unwrap_or_else(|| LoginError::Name("it has no address".to_owned())))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, LoginError> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let answer = self.resolver.resolve(self.host.clone()).await;
        let answer = answer.map_err(|error| LoginError::Name(error.to_string()))?;
        let addresses = answer.addresses.into_iter().take(MOST_ADDRESSES);
        Ok(addresses.map(|it| SocketAddr::new(it, self.port)).collect())
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Box<dyn Io>, LoginError> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        match &self.tls {
            Some(tls) => self.greet(Box::new(tls.handshake(socket).await?)).await,
            None => self.greet(Box::new(socket)).await,
        }
    }

    async fn greet(&self, mut stream: Box<dyn Io>) -> Result<Box<dyn Io>, LoginError> {
        let mut read = BytesMut::new();
        if let Some(password) = &self.password {
            let user = self.username.as_deref().map(str::as_bytes);
            let parts = [Some(b"AUTH".as_slice()), user, Some(password.expose())];
            let parts: Vec<&[u8]> = parts.into_iter().flatten().collect();
            let reply = ask(&mut stream, &mut read, &resp::command(parts.into_iter())).await?;
            accept(reply, |error| {
                let word = error.split(' ').next().unwrap_or_default();
                let is_word =
                    !word.is_empty() && word.len() <= 16 && word.bytes().all(|it| it.is_ascii_uppercase());
                LoginError::Password(if is_word { word.to_owned() } else { "an error".to_owned() })
            })?;
        }
        if self.database != 0 {
            let database = self.database.to_string();
            let parts: [&[u8]; 2] = [b"SELECT", database.as_bytes()];
            let reply = ask(&mut stream, &mut read, &resp::command(parts.into_iter())).await?;
            accept(reply, |error| refused("the database", error))?;
        }
        let reply = ask(&mut stream, &mut read, &script::probe()).await?;
        accept(reply, |error| refused("to run a script", error))?;
        // What nobody asked for would be taken for the answer to the next question.
        if read.is_empty() { Ok(stream) } else { Err(resp::Malformed.into()) }
    }
}

fn refused(what: &'static str, error: String) -> LoginError {
    match error.starts_with("NOAUTH") {
        true => LoginError::NoPassword,
        false => LoginError::Refused { what, error },
    }
}

fn accept(reply: Reply, refuse: impl FnOnce(String) -> LoginError) -> Result<(), LoginError> {
    match reply {
        Reply::Error(error) => Err(refuse(error)),
        Reply::Text(_) | Reply::Numbers(_) => Ok(()),
        Reply::Other => Err(resp::Malformed.into()),
    }
}

/// One command and its answer, on a connection that nobody else uses.
async fn ask(stream: &mut Box<dyn Io>, read: &mut BytesMut, command: &[u8]) -> Result<Reply, LoginError> {
    stream.write_all(command).await?;
    stream.flush().await?;
    loop {
        if let Some(reply) = resp::take(read)? {
            return Ok(reply);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

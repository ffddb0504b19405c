//! One GET of a small document: bounded, without redirects, and only from where the rule may.

use super::reach::may_reach;
use crate::policy::KeySetError;
use crate::upstream::{HttpUrl, Resolver, TlsDial};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sluice_ir as ir;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// Most bytes of a document.
const MOST_BYTES: usize = 256 * 1024;
/// Most bytes of an answer's head.
const HEAD_BYTES: usize = 64 * 1024;
/// Addresses of a name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nothing can be asked there.
    #[error("its address: {0}")]
    Address(&'static str),
    /// It has no address.
    #[error("its name can't be resolved: {0}")]
    Name(String),
    /// It has none that may be asked.
    #[error(
        "its name leads to {0}, which is inside: only names of the cluster and hosts of a ServiceEntry with location MESH_INTERNAL may"
    )]
    Inside(IpAddr),
    /// Nobody is there.
    #[error("connect: {0}")]
    Connect(#[source] io::Error),
    /// It is not who it should be, or there are no authorities.
    #[error("TLS: {0}")]
    Tls(String),
    /// What came is no HTTP, or ended.
    #[error("exchange: {0}")]
    Exchange(#[source] hyper::Error),
    /// It took too long.
    #[error("no whole answer in time")]
    Timeout,
    /// It is elsewhere, where we don't go.
    #[error("it answers {0}, a redirect, which is not followed")]
    Redirect(u16),
    /// It has none.
    #[error("it answers {0}")]
    Status(u16),
    /// It has too much.
    #[error("its answer has more than {MOST_BYTES} bytes")]
    TooLarge,
    /// The issuer's document does not say where its keys are.
    #[error("its openid-configuration: {0}")]
    Discovery(&'static str),
    /// They are none.
    #[error("its keys: {0}")]
    Keys(#[source] KeySetError),
}

impl FetchError {
    /// As metrics have them.
    pub(crate) const WORDS: [&'static str; 12] = [
        "address",
        "name",
        "inside",
        "connect",
        "tls",
        "exchange",
        "timeout",
        "redirect",
        "status",
        "too_large",
        "discovery",
        "keys",
    ];

    /// Position of the error's word.
    pub(super) fn position(&self) -> usize {
        match self {
            Self::Address(_) => 0,
            Self::Name(_) => 1,
            Self::Inside(_) => 2,
            Self::Connect(_) => 3,
            Self::Tls(_) => 4,
            Self::Exchange(_) => 5,
            Self::Timeout => 6,
            Self::Redirect(_) => 7,
            Self::Status(_) => 8,
            Self::TooLarge => 9,
            Self::Discovery(_) => 10,
            Self::Keys(_) => 11,
        }
    }
}

/// Bytes both ways.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What an address says.
pub(super) fn address(text: &str) -> Result<HttpUrl, FetchError> {
    HttpUrl::parse(text).ok_or(FetchError::Address("it is no address of http or https"))
}

/// How documents are fetched.
pub(super) struct Fetch {
    pub(super) reach: ir::KeyReach,
    pub(super) resolver: Resolver,
}

impl Fetch {
    /// The whole document. Takes no longer than `time`, name and handshakes included. Cancelling closes the connection.
    pub(super) async fn get(&self, uri: &str, time: Duration) -> Result<Bytes, FetchError> {
        let address = address(uri)?;
        let document = tokio::time::timeout(time, self.exchange(&address));
        document.await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn exchange(&self, address: &HttpUrl) -> Result<Bytes, FetchError> {
        let mut failed = None;
        let mut stream = None;
        for candidate in self.addresses(address).await? {
            match connect(address, candidate).await {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(error) => failed = Some(error),
            }
        }
        let stream = match (stream, failed) {
            (Some(stream), _) => stream,
            (None, Some(error)) => return Err(error),
            (None, None) => return Err(FetchError::Name("it has no address".to_owned())),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES);
        let (mut sender, driver) =
            builder.handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(async move { drop(driver.await) }));
        let request = Request::get(&address.path)
            .header(HOST, &address.authority)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "sluice")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::Address("its path can't be sent"))?;
        let answer = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect(status.as_u16())),
            status => return Err(FetchError::Status(status.as_u16())),
        }
        match Limited::new(answer.into_body(), MOST_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
            Err(error) => Err(match error.downcast::<hyper::Error>() {
                Ok(error) => FetchError::Exchange(*error),
                Err(_) => FetchError::Timeout,
            }),
        }
    }

    /// Where to connect to: checked after the name was resolved, and connected to as checked, so that a second answer of
    /// a name server has no say (DNS rebinding).
    async fn addresses(&self, address: &HttpUrl) -> Result<Vec<SocketAddr>, FetchError> {
        let found = match address.host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => {
                // Short names of the cluster need the search domains of the system; all others are whole.
                let is_whole = self.reach == ir::KeyReach::Public || !address.host.ends_with(".svc");
                let name = if is_whole { format!("{}.", address.host) } else { address.host.clone() };
                let answer = self.resolver.resolve(name.into()).await;
                answer.map_err(|error| FetchError::Name(error.to_string()))?.addresses
            }
        };
        let (may, inside): (Vec<_>, Vec<_>) = found.into_iter().partition(|it| may_reach(*it, self.reach));
        match (may.is_empty(), inside.first()) {
            (true, Some(inside)) => Err(FetchError::Inside(*inside)),
            _ => {
                let may = may.into_iter().take(MOST_ADDRESSES);
                Ok(may.map(|it| SocketAddr::new(it, address.port)).collect())
            }
        }
    }
}

async fn connect(address: &HttpUrl, to: SocketAddr) -> Result<Box<dyn Io>, FetchError> {
    let socket = TcpStream::connect(to).await.map_err(FetchError::Connect)?;
    if !address.is_tls {
        return Ok(Box::new(socket));
    }
    let policy = ir::UpstreamTls {
        origin: ir::Origin::new("RequestAuthentication", "", ""),
        server_name: address.host.clone(),
        subject_names: Vec::new(),
        trust: ir::Trust::System,
        revocations: None,
        certificate: None,
    };
    let dial = TlsDial::new(&policy).map_err(|error| FetchError::Tls(error.to_string()))?;
    let stream = dial.handshake(socket).await.map_err(|error| FetchError::Tls(error.to_string()))?;
    Ok(Box::new(stream))
}

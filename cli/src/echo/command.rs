//! The command line of `sluice echo`.

use super::{Speech, raw, serve_with, tls};
use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sluice_proxy::process::Termination;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Answer every request with what was seen: a backend for examples and tests.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  sluice echo                                         one backend on 127.0.0.1:3000
  sluice echo -l 127.0.0.1:3001=v1 -l 127.0.0.1:3002=v2
  sluice echo -l 127.0.0.1:3443=web,tls=FOLDER        TLS with FOLDER/tls.crt and FOLDER/tls.key; clients of FOLDER/clients.crt
  sluice echo -l 127.0.0.1:3007=a,tcp -l 127.0.0.1:3007=b,udp     lines and datagrams come back
  curl -s localhost:3000/anything                     JSON of the request
  curl -s 'localhost:3000/status/503?delay=200ms'     a slow 503
Paths: /status/N /bytes/N /sse /stream /trailers /early /fail-first /count/KEY /close; WebSocket and gRPC on the same port.")]
pub struct EchoArgs {
    /// Where to listen, and under which name to answer; may be repeated. Port 0 takes a free one. With tls= it speaks
    /// TLS with the tls.crt and tls.key of that folder; with tcp or udp it gives back lines or datagrams.
    #[arg(
        short,
        long,
        value_name = "ADDRESS:PORT[=NAME][,tls=FOLDER|,tcp|,udp]",
        default_value = "127.0.0.1:3000"
    )]
    pub listen: Vec<Listen>,
    /// Name of the listeners that have none of their own.
    #[arg(short, long, default_value = "echo")]
    pub name: String,
}

/// One `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    address: SocketAddr,
    name: Option<String>,
    speaks: Speaks,
}

/// What is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Speaks {
    Http,
    /// With the certificate of this folder.
    Https(PathBuf),
    Lines,
    Datagrams,
}

impl FromStr for Speaks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("tls", folder)) => Ok(Self::Https(PathBuf::from(folder))),
            None if text == "tcp" => Ok(Self::Lines),
            None if text == "udp" => Ok(Self::Datagrams),
            Some(_) | None => {
                Err(format!("{text:?} is not known behind a comma; use tls=FOLDER, tcp or udp"))
            }
        }
    }
}

impl Speaks {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https(_) => "https",
            Self::Lines => "tcp",
            Self::Datagrams => "udp",
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, speaks) = match text.split_once(',') {
            Some((text, speaks)) => (text, speaks.parse()?),
            None => (text, Speaks::Http),
        };
        let (address, name) = match text.split_once('=') {
            Some((address, name)) => (address, Some(name.to_owned())),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| {
            format!("{address:?} is no address with port; write one like 127.0.0.1:3000 or [::1]:3000")
        })?;
        Ok(Self { address, name, speaks })
    }
}

/// Serves until SIGTERM or SIGINT.
pub fn run(args: EchoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_all(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_all(args: EchoArgs) -> anyhow::Result<()> {
    let mut termination = Termination::new()?;
    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    for listen in args.listen {
        let name = listen.name.clone().unwrap_or_else(|| args.name.clone());
        servers.spawn(start(listen, name, stop.clone()).await?);
    }
    termination.received().await;
    stop.cancel();
    while let Some(served) = servers.join_next().await {
        served??;
    }
    Ok(())
}

/// Binds and says so; what it returns serves until the stop.
async fn start(
    Listen { address, speaks, .. }: Listen,
    name: String,
    stop: CancellationToken,
) -> anyhow::Result<BoxFuture<'static, io::Result<()>>> {
    let taken = || {
        format!("can't listen on {address}; choose another address with --listen, port 0 takes a free one")
    };
    let scheme = speaks.scheme();
    let tell = |bound: SocketAddr| eprintln!("echo {name} listens on {scheme}://{bound}");
    let speech = match speaks {
        Speaks::Http => Speech::Http,
        Speaks::Https(folder) => Speech::Https(tls::acceptor(&folder)?),
        Speaks::Lines => Speech::Lines,
        Speaks::Datagrams => {
            let socket = UdpSocket::bind(address).await.with_context(taken)?;
            tell(socket.local_addr()?);
            return Ok(raw::datagrams(socket, name, stop).boxed());
        }
    };
    let listener = TcpListener::bind(address).await.with_context(taken)?;
    tell(listener.local_addr()?);
    Ok(serve_with(listener, name, speech, stop).boxed())
}

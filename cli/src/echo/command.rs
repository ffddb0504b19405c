//! The command line of `sluice echo`.

use crate::signal::Termination;
use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Answer every request with what was seen: a backend for examples and tests.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  sluice echo                                         one backend on 127.0.0.1:3000
  sluice echo -l 127.0.0.1:3001=v1 -l 127.0.0.1:3002=v2
  sluice echo -l 127.0.0.1:3443=web,tls=FOLDER        TLS with FOLDER/tls.crt and FOLDER/tls.key
  curl -s localhost:3000/anything                     JSON of the request
  curl -s 'localhost:3000/status/503?delay=200ms'     a slow 503
Paths: /status/N /bytes/N /sse /stream /trailers /early /fail-first /count/KEY /close; WebSocket and gRPC on the same port.")]
pub struct EchoArgs {
    /// Where to listen, and under which name to answer; may be repeated. Port 0 takes a free one. With tls= it speaks
    /// TLS with the tls.crt and tls.key of that folder.
    #[arg(short, long, value_name = "ADDRESS:PORT[=NAME][,tls=FOLDER]", default_value = "127.0.0.1:3000")]
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
    tls: Option<PathBuf>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, tls) = match text.split_once(",tls=") {
            Some((text, folder)) => (text, Some(PathBuf::from(folder))),
            None => (text, None),
        };
        let (address, name) = match text.split_once('=') {
            Some((address, name)) => (address, Some(name.to_owned())),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| {
            format!("{address:?} is no address with port; write one like 127.0.0.1:3000 or [::1]:3000")
        })?;
        Ok(Self { address, name, tls })
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
    for Listen { address, name, tls } in args.listen {
        let tls = tls.as_deref().map(super::tls::acceptor).transpose()?;
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "can't listen on {address}; choose another address with --listen, port 0 takes a free one"
            )
        })?;
        let name = name.unwrap_or_else(|| args.name.clone());
        let scheme = if tls.is_some() { "https" } else { "http" };
        eprintln!("echo {name} listens on {scheme}://{}", listener.local_addr()?);
        servers.spawn(super::serve_with(listener, name, tls, stop.clone()));
    }
    termination.received().await;
    stop.cancel();
    while let Some(served) = servers.join_next().await {
        served??;
    }
    Ok(())
}

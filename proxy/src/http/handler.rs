//! Pingora's proxy around our engine, with our connector for TLS backends and hedged tries.
//!
//! Pingora makes a proxy with a connector of one's own only within a service, and shows it only to the handler of a
//! custom protocol. So the service is started for a moment, on a port of loopback that nobody knows; one connection
//! makes it call the handler, which takes the proxy out, and the service is gone.

use super::Engine;
use crate::upstream::HedgingConnector;
use parking_lot::Mutex;
use pingora_core::apps::HttpServerOptions;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::server::Fds;
use pingora_core::server::configuration::ServerConf;
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_proxy::{HttpProxy, ProcessCustomSession, ProxyServiceBuilder};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What serves requests.
pub(crate) type Handler = HttpProxy<Engine, HedgingConnector>;

/// How long the service may take; it takes about a millisecond.
const START_TIME: Duration = Duration::from_secs(10);

/// Makes the handler. Blocks for about a millisecond, once a process.
///
/// # Errors
/// When a socket on loopback or a thread can't be had.
pub(crate) fn handler(conf: &Arc<ServerConf>, engine: Engine) -> io::Result<Arc<Handler>> {
    let (sender, receiver) = mpsc::channel();
    let take: ProcessCustomSession<Engine, HedgingConnector> =
        Arc::new(move |handler, _connection, _shutdown| {
            // Who comes second finds nobody waiting.
            let _ = sender.send(handler);
            Box::pin(std::future::ready(None))
        });
    let mut options = HttpServerOptions::default();
    options.force_custom = true;
    let connector = HedgingConnector::new(ConnectorOptions::from_server_conf(conf));
    let service =
        ProxyServiceBuilder::new(conf, engine).custom(connector, take).server_options(options).build();
    let started = std::thread::Builder::new().name("handler".to_owned()).spawn(move || call_once(service))?;
    started.join().map_err(|_| io::Error::other("the proxy could not be started"))??;
    receiver.try_recv().map_err(|_| io::Error::other("the proxy was not handed out"))
}

/// Serves one connection and drops the service.
fn call_once(mut service: Service<Handler>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        service.add_tcp(&address.to_string());
        let mut fds = Fds::new();
        fds.add(address.to_string(), listener.into_raw_fd());
        let (_running, shutdown) = watch::channel(false);
        let called = async {
            let mut connection = TcpStream::connect(address).await?;
            connection.read_to_end(&mut Vec::new()).await
        };
        tokio::select! {
            // It must not end by itself: that would tell the proxy to shut down.
            () = service.start_service(Some(Arc::new(Mutex::new(fds))), shutdown, 1) => {
                Err(io::Error::other("the service ended"))
            }
            called = tokio::time::timeout(START_TIME, called) => called?.map(drop),
        }
    })
}

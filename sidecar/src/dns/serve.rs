//! The sockets of the name server, and what is under way.

use super::answer::{Decision, MOST_ROOM, decide};
use super::forward::{Way, ask, read_framed, write_framed};
use super::{Table, message};
use crate::resolv_conf::ResolvConf;
use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Questions that are with the servers at one time; a further one over UDP is dropped, and asked again by who asked.
const MOST_FORWARDED: usize = 256;
/// Connections at a time; further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 32;
/// How long a connection may be silent (RFC 7766 §6.2.3 leaves it to the server).
const IDLE: Duration = Duration::from_secs(10);
/// Pause after a failed accept or receive.
const PAUSE: Duration = Duration::from_millis(50);

/// How it is started.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Port on loopback; 0: one that is free, the same for both protocols and families.
    pub port: u16,
    /// Whom to ask, and the search domains. Read before questions are captured.
    pub resolv_conf: ResolvConf,
    /// The names that are answered.
    pub names: Table,
}

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct DnsProxy {
    port: u16,
    _tasks: JoinSet<()>,
}

/// What all questions share.
struct Shared {
    options: DnsOptions,
    forwarded: Semaphore,
    connections: Arc<Semaphore>,
}

impl DnsProxy {
    /// Listens on 127.0.0.1, and on ::1 where the machine has it, for UDP and TCP. Must be called within a runtime.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn start(options: DnsOptions) -> Result<Self> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let tcp = TcpListener::bind(v4).await.with_context(|| format!("names: {v4} can't be bound"))?;
        let port = tcp.local_addr()?.port();
        let mut sockets = vec![(tcp, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))];
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        match TcpListener::bind(v6).await {
            Ok(tcp) => sockets.push((tcp, v6)),
            Err(error) => tracing::debug!(%error, "names are not answered over IPv6"),
        }
        let shared = Arc::new(Shared {
            options,
            forwarded: Semaphore::new(MOST_FORWARDED),
            connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
        });
        let mut tasks = JoinSet::new();
        for (tcp, address) in sockets {
            let udp = UdpSocket::bind(address)
                .await
                .with_context(|| format!("names: {address} (UDP) can't be bound"))?;
            tasks.spawn(datagrams(shared.clone(), udp));
            tasks.spawn(connections(shared.clone(), tcp));
        }
        Ok(Self { port, _tasks: tasks })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Shared {
    fn decide(&self, question: &[u8], by_udp: bool) -> Decision {
        let table = self.options.names.load();
        let search = self.options.resolv_conf.search.first().map(String::as_str);
        decide(question, table.as_deref(), search, by_udp)
    }

    /// Asks the servers; a failure is told as theirs.
    async fn forward(&self, question: &[u8], way: Way) -> Option<Vec<u8>> {
        let answer = ask(&self.options.resolv_conf.servers, question, way).await;
        answer.or_else(|| message::without_records(question, message::SERVER_FAILURE, false))
    }
}

async fn datagrams(shared: Arc<Shared>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; MOST_ROOM.into()];
    let mut forwarded = JoinSet::new();
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            // Ended tasks are collected as they end.
            Some(_) = forwarded.join_next() => continue,
        };
        let (question, client) = match received {
            Ok((length, client)) => (buffer.get(..length).unwrap_or_default(), client),
            Err(error) => {
                tracing::debug!(%error, "a question of a name can't be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match shared.decide(question, true) {
            Decision::Answer(answer) => {
                // Who asked and is gone misses nothing.
                let _ = socket.send_to(&answer, client).await;
            }
            Decision::Forward { room } => {
                let (shared, socket, question) = (shared.clone(), socket.clone(), question.to_vec());
                if shared.forwarded.available_permits() == 0 {
                    tracing::debug!("too many questions of names at a time: one is dropped");
                    continue;
                }
                forwarded.spawn(async move {
                    let Ok(_permit) = shared.forwarded.acquire().await else { return };
                    if let Some(answer) = shared.forward(&question, Way::Udp { room }).await {
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
            Decision::Ignore => {}
        }
    }
}

async fn connections(shared: Arc<Shared>, listener: TcpListener) {
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let permit = shared.connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = shared.clone();
                open.spawn(async move {
                    let _permit = permit;
                    connection(&shared, stream).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection of a question can't be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one question after the other.
async fn connection(shared: &Shared, mut stream: TcpStream) {
    while let Ok(Ok(question)) = timeout(IDLE, read_framed(&mut stream)).await {
        let answer = match shared.decide(&question, false) {
            Decision::Answer(answer) => Some(answer),
            Decision::Forward { .. } => {
                let Ok(_permit) = shared.forwarded.acquire().await else { return };
                shared.forward(&question, Way::Tcp).await
            }
            Decision::Ignore => None,
        };
        let Some(answer) = answer else { return };
        if !matches!(timeout(IDLE, write_framed(&mut stream, &answer)).await, Ok(Ok(()))) {
            return;
        }
    }
}

//! Asks the servers of the pod.
//!
//! The first one is asked first; the next one too when it says nothing for a while, fails or refuses, so that a server
//! that is gone costs a moment and not the whole time that the workload waits. Each question has a socket and a number
//! of its own, both by chance, so that answers are hard to forge (RFC 5452 §9.2).

use super::message::{self, NO_ERROR, NO_SUCH_NAME};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until};

/// How long servers have in all (as Istio's proxy gives them).
const TIME: Duration = Duration::from_secs(5);
/// How long a server has before the next one is asked as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a question travels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// In one datagram; the answer may have this many bytes, else it says that it was cut.
    Udp { room: usize },
    /// On a connection.
    Tcp,
}

/// Asks; `None`: no server answers in time. Answers of servers that fail or refuse count only when there are no others.
pub(super) async fn ask(servers: &[SocketAddr], question: &[u8], way: Way) -> Option<Vec<u8>> {
    let deadline = Instant::now() + TIME;
    let mut left = servers.iter();
    let mut asking = FuturesUnordered::new();
    let mut poor = None;
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(deadline) => return poor,
            () = sleep_until(next_at), if left.len() > 0 => {
                if let Some(server) = left.next() {
                    asking.push(ask_one(*server, question, way));
                }
                next_at = Instant::now() + PATIENCE;
            }
            Some(answer) = asking.next() => match answer {
                Ok(answer) if matches!(message::code(&answer), Some(NO_ERROR | NO_SUCH_NAME)) => {
                    return Some(answer);
                }
                other => {
                    if let Err(error) = &other {
                        tracing::debug!(%error, "a server of names does not answer");
                    }
                    poor = other.ok().or(poor);
                    if left.len() == 0 && asking.is_empty() {
                        return poor;
                    }
                    next_at = Instant::now();
                }
            }
        }
    }
}

async fn ask_one(server: SocketAddr, question: &[u8], way: Way) -> io::Result<Vec<u8>> {
    let mut own = question.to_vec();
    message::set_id(&mut own, rand::random());
    let mut answer = match way {
        Way::Udp { room } => by_udp(server, &own, room).await?,
        Way::Tcp => by_tcp(server, &own).await?,
    };
    if let Some(id) = message::id(question) {
        message::set_id(&mut answer, id);
    }
    Ok(answer)
}

async fn by_udp(server: SocketAddr, question: &[u8], room: usize) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From now on the kernel takes datagrams of this server alone.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; room + 1];
    loop {
        let length = socket.recv(&mut answer).await?;
        let received = answer.get(..length).unwrap_or_default();
        if !message::answers(received, question) {
            continue;
        }
        if length > room {
            let code = message::code(received).unwrap_or_default();
            return message::without_records(question, code, true)
                .ok_or_else(|| io::Error::other("a question without a head"));
        }
        answer.truncate(length);
        answer.shrink_to_fit();
        return Ok(answer);
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, question).await?;
    let answer = read_framed(&mut stream).await?;
    match message::answers(&answer, question) {
        true => Ok(answer),
        false => Err(io::Error::other("an answer to another question")),
    }
}

/// Writes a message with its length before it (RFC 1035 §4.2.2), in one piece.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length =
        u16::try_from(message.len()).map_err(|_| io::Error::other("a message of more than 64 KiB"))?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// Reads one.
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

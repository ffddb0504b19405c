//! Plays a case that is carried whole: lines over TCP or TLS, or datagrams.

use crate::cases::Case;
use crate::client::{Client, Io};
use crate::support::{DEADLINE, LOOPBACK};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;

/// Plays it; the error says what was different.
pub(crate) async fn run(client: &Client, case: &Case) -> Result<(), String> {
    let mut backends = BTreeMap::new();
    for _ in 0..case.repeat.unwrap_or(1) {
        let talk = tokio::time::timeout(DEADLINE, talk(client, case)).await;
        for answer in talk.map_err(|_| "no answer in time".to_owned())?? {
            let (backend, _) = answer.split_once(": ").ok_or(format!("{answer:?} has no name"))?;
            *backends.entry(backend.to_owned()).or_insert(0_u32) += 1;
        }
    }
    match &case.expect.shares {
        Some(shares) if *shares != backends => Err(format!("shares are {backends:?}, not {shares:?}")),
        Some(_) | None => Ok(()),
    }
}

/// One conversation: what came back, compared unless shares are asked for.
async fn talk(client: &Client, case: &Case) -> Result<Vec<String>, String> {
    let back = match case.uri().scheme_str() {
        Some("udp") => datagrams(client.at(case), &case.messages).await,
        _ => lines(client.open(case).await?, &case.messages).await,
    };
    let back = back.map_err(|error| error.to_string())?;
    if case.expect.shares.is_none() && back != case.expect.messages {
        return Err(format!("messages {back:?} came back"));
    }
    Ok(back)
}

/// The messages as lines; then the client has said all, and the other side must say so too.
async fn lines(stream: impl Io, messages: &[String]) -> io::Result<Vec<String>> {
    let mut stream = BufReader::new(stream);
    let mut back = Vec::new();
    for message in messages {
        stream.write_all(format!("{message}\n").as_bytes()).await?;
        stream.flush().await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        back.push(line.trim_end().to_owned());
    }
    stream.shutdown().await?;
    let mut rest = String::new();
    if stream.read_to_string(&mut rest).await? > 0 {
        back.push(rest);
    }
    Ok(back)
}

async fn datagrams(to: SocketAddr, messages: &[String]) -> io::Result<Vec<String>> {
    let socket = UdpSocket::bind((LOOPBACK, 0)).await?;
    socket.connect(to).await?;
    let mut back = Vec::new();
    for message in messages {
        socket.send(message.as_bytes()).await?;
        let mut buffer = vec![0; 2048];
        let len = socket.recv(&mut buffer).await?;
        back.push(String::from_utf8_lossy(&buffer[..len]).into_owned());
    }
    Ok(back)
}

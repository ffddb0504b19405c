//! An HTTP/1.1 connection of which the test decides every byte.

use super::answer::{Answer, Parsed, parse};
use super::{Ask, plain};
use crate::wait::soon;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A byte stream: TCP, or TLS over it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why no answer came.
#[derive(Debug)]
pub enum Ended {
    /// The connection was closed; what had arrived of an answer.
    Closed(Vec<u8>),
    /// It broke.
    Failed(io::Error),
    /// What came is no HTTP.
    Garbage(String),
}

/// A connection.
pub struct Wire {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects without TLS.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(plain(address).await)
    }

    /// Speaks over any stream.
    pub fn over(io: Box<dyn Io>) -> Self {
        Self { io, buffer: Vec::new() }
    }

    /// Sends these bytes. A connection that the other side has closed takes none, which is no error here: the answer
    /// that was given before tells more.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes.as_ref()).await;
    }

    /// Sends these bytes.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        soon("send", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    /// Ends our direction of the connection.
    pub async fn finish(&mut self) {
        let _ = soon("shutdown", self.io.shutdown()).await;
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, ask: &Ask) -> Answer {
        self.send(ask.to_http1()).await;
        match self.read(ask.method == "HEAD").await {
            Ok(answer) => answer,
            Err(ended) => panic!("{} {}{}: {ended:?}", ask.method, ask.authority, ask.target),
        }
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Answer {
        match self.read(false).await {
            Ok(answer) => answer,
            Err(ended) => panic!("no answer: {ended:?}"),
        }
    }

    /// The next answer, or why there is none.
    pub async fn read(&mut self, head_only: bool) -> Result<Answer, Ended> {
        soon("an answer", self.read_in_time(head_only)).await
    }

    async fn read_in_time(&mut self, head_only: bool) -> Result<Answer, Ended> {
        loop {
            match parse(&self.buffer, head_only).map_err(Ended::Garbage)? {
                Parsed::Whole(answer, length) => {
                    self.buffer.drain(..length);
                    return Ok(answer);
                }
                Parsed::UntilClose(mut answer, at) => {
                    while self.fill().await? > 0 {}
                    answer.body = self.buffer.split_off(at).into();
                    self.buffer.clear();
                    return Ok(answer);
                }
                Parsed::Partial => {
                    if self.fill().await? == 0 {
                        return Err(Ended::Closed(std::mem::take(&mut self.buffer)));
                    }
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<usize, Ended> {
        let mut piece = [0; 16 * 1024];
        let count = self.io.read(&mut piece).await.map_err(Ended::Failed)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Reads until this text has come and takes everything up to its end.
    pub async fn until(&mut self, text: &str) -> String {
        soon(text, async {
            loop {
                if let Some(at) = super::answer::find(&self.buffer, text.as_bytes()) {
                    let rest = self.buffer.split_off(at + text.len());
                    let taken = std::mem::replace(&mut self.buffer, rest);
                    return String::from_utf8_lossy(&taken).into_owned();
                }
                match self.fill().await {
                    Ok(count) if count > 0 => {}
                    ended => panic!(
                        "{text:?} did not come: {ended:?}, {:?}",
                        String::from_utf8_lossy(&self.buffer)
                    ),
                }
            }
        })
        .await
    }

    /// Reads until the other side closes or resets, and returns all that came.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the connection", async { while self.fill().await.is_ok_and(|count| count > 0) {} })
            .await;
        std::mem::take(&mut self.buffer)
    }

    /// The stream, and bytes that were read too far.
    pub fn into_parts(self) -> (Box<dyn Io>, Vec<u8>) {
        (self.io, self.buffer)
    }
}

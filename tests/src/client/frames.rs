//! HTTP/2 frame by frame (RFC 9113 §4), for tests that break its rules.

use super::{Io, plain};
use crate::wait::soon;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

/// A flood that nobody takes any more has reached its end.
const BLOCKED: Duration = Duration::from_millis(700);

/// Frame types.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags.
pub mod flag {
    #![allow(missing_docs)]
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// 0: the connection.
    pub stream: u32,
    /// Without the frame's head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub fn error_code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// Bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block without any compression (RFC 7541 §6.2.2: literals that are not indexed, no Huffman code).
pub fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        string(&mut bytes, name.as_bytes());
        string(&mut bytes, value);
    }
    bytes
}

/// A string literal (RFC 7541 §5.2).
pub fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    integer(bytes, 0, 7, text.len());
    bytes.extend_from_slice(text);
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
pub fn integer(bytes: &mut Vec<u8>, first: u8, prefix_bits: u8, value: usize) {
    let most = (1_usize << prefix_bits) - 1;
    if value < most {
        bytes.push(first | u8::try_from(value).expect("fits the prefix"));
        return;
    }
    bytes.push(first | u8::try_from(most).expect("fits the prefix"));
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
}

/// The pseudo fields of a GET, and these fields.
pub fn get(authority: &str, path: &str, more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&str, &[u8])> = vec![
        (":method", b"GET"),
        (":scheme", b"http"),
        (":path", path.as_bytes()),
        (":authority", authority.as_bytes()),
    ];
    fields.extend_from_slice(more);
    block(&fields)
}

/// A connection after the preface, whose every frame the test decides.
pub struct Frames {
    io: Box<dyn Io>,
}

impl Frames {
    /// Connects and sends the preface and these settings (pairs of identifier and value).
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { io: plain(address).await };
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface");
        let mut payload = Vec::new();
        for (identifier, value) in settings {
            payload.extend_from_slice(&identifier.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        frames.send(&frame(kind::SETTINGS, 0, 0, &payload)).await.expect("settings");
        frames
    }

    /// Sends raw bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        soon("send frames", async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        })
        .await
    }

    /// Sends HEADERS with the whole block and, when `end`, the end of the stream.
    pub async fn headers(&mut self, stream: u32, block: &[u8], end: bool) -> std::io::Result<()> {
        let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
        self.send(&frame(kind::HEADERS, flags, stream, block)).await
    }

    /// The next frame; `None`: the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        soon("a frame", async {
            let mut head = [0; 9];
            self.io.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.io.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        })
        .await
    }

    /// Reads until a frame fits; acknowledges settings on the way. `None`: the connection ended before.
    pub async fn until(&mut self, mut fits: impl FnMut(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0 {
                let _ = self.send(&self::frame(kind::SETTINGS, flag::ACK, 0, &[])).await;
            }
            if fits(&frame) {
                return Some(frame);
            }
        }
    }

    /// How the stream, or the connection with it, ended: an answer's first HEADERS, RST_STREAM, or GOAWAY.
    pub async fn outcome(&mut self, stream: u32) -> Option<Frame> {
        self.until(|frame| {
            frame.kind == kind::GOAWAY
                || frame.stream == stream && matches!(frame.kind, kind::HEADERS | kind::RST_STREAM)
        })
        .await
    }

    /// Sends a unit again and again, in large writes, while everything that comes is read. `unit` is asked for the
    /// bytes of each number, from 0.
    pub async fn flood(self, times: usize, unit: impl FnMut(usize) -> Vec<u8>) -> Flood {
        let (read, write) = tokio::io::split(self.io);
        let reading = tokio::spawn(drain(read));
        let sent = pour(write, times, unit).await;
        let mut reading = reading;
        match timeout(BLOCKED, &mut reading).await {
            Ok(ended) => Flood { sent, closed: true, error_code: ended.expect("a reader") },
            Err(_) => {
                reading.abort();
                Flood { sent, closed: false, error_code: None }
            }
        }
    }

    /// The same without reading anything that comes.
    pub async fn flood_unread(self, times: usize, unit: impl FnMut(usize) -> Vec<u8>) -> (Flood, impl Sized) {
        let (read, write) = tokio::io::split(self.io);
        let sent = pour(write, times, unit).await;
        (Flood { sent, closed: false, error_code: None }, read)
    }
}

/// What became of a flood.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Units that were taken.
    pub sent: usize,
    /// Whether the other side closed the connection.
    pub closed: bool,
    /// Of its GOAWAY.
    pub error_code: Option<u32>,
}

async fn pour(
    mut write: WriteHalf<Box<dyn Io>>,
    times: usize,
    mut unit: impl FnMut(usize) -> Vec<u8>,
) -> usize {
    const AT_ONCE: usize = 64 * 1024;
    let mut bytes = Vec::new();
    for number in 0..times {
        bytes.extend(unit(number));
        if bytes.len() >= AT_ONCE || number + 1 == times {
            match timeout(BLOCKED, write.write_all(&bytes)).await {
                Ok(Ok(())) => bytes.clear(),
                Ok(Err(_)) | Err(_) => return number,
            }
        }
    }
    times
}

/// Reads to the end; the error code of the last GOAWAY.
async fn drain(mut read: ReadHalf<Box<dyn Io>>) -> Option<u32> {
    let mut last = None;
    loop {
        let mut head = [0; 9];
        if read.read_exact(&mut head).await.is_err() {
            return last;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if read.read_exact(&mut payload).await.is_err() {
            return last;
        }
        let frame = Frame { kind: head[3], flags: head[4], stream: 0, payload };
        if frame.kind == kind::GOAWAY {
            last = frame.error_code();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{block, integer};

    #[test]
    fn integers_and_literals_are_those_of_the_rfc() {
        // RFC 7541 C.1.1 and C.1.2.
        let coded = |value| {
            let mut bytes = Vec::new();
            integer(&mut bytes, 0, 5, value);
            bytes
        };
        assert_eq!(coded(10), [10]);
        assert_eq!(coded(1337), [31, 154, 10]);
        assert_eq!(block(&[("a", b"b")]), [0, 1, b'a', 1, b'b']);
    }
}

//! Where one HTTP/1 request ends in the bytes of its connection.
//!
//! The connection hands Pingora the bytes of one request and never those of the next: a pipelined request waits in
//! our buffer until its own head has been checked. A connection is used again only when Pingora and this module agree
//! that the message is over, so that a difference in reading can't turn into request smuggling. Pure: bytes in,
//! lengths out.

/// Bytes of a chunk-size line after the size.
const CHUNK_EXTENSION_MAX: u16 = 1024;
/// Bytes of all trailer fields.
const TRAILER_MAX: u16 = 8192;
/// Hexadecimal digits of a chunk size.
const CHUNK_SIZE_DIGITS_MAX: u8 = 15;

/// How the body of a checked request is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `Content-Length`, or 0 without one.
    Sized(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// A request to upgrade: after a 101 everything belongs to the new protocol.
    Upgrade,
}

/// The message whose bytes may be read now.
#[derive(Debug)]
pub(super) enum Message {
    /// All bytes: HTTP/2, an upgrade, or no HTTP at all.
    Endless,
    /// So many bytes are left.
    Sized(u64),
    /// So many bytes of the head are left, then chunks.
    Chunked(u64, Chunks),
}

impl Message {
    /// Nothing may be read: between two requests.
    pub(super) fn none() -> Self {
        Self::Sized(0)
    }

    /// A request whose head has this length.
    pub(super) fn new(head_len: usize, body: Body) -> Self {
        match body {
            Body::Sized(len) => Self::Sized(len.saturating_add(head_len as u64)),
            Body::Chunked => Self::Chunked(head_len as u64, Chunks::default()),
            Body::Upgrade => Self::Endless,
        }
    }

    /// Whether all bytes of the message were taken.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Endless => false,
            Self::Sized(left) => *left == 0,
            Self::Chunked(head, chunks) => *head == 0 && chunks.state == State::Over,
        }
    }

    /// Takes what belongs to the message from the front of `bytes` and says how much that is.
    ///
    /// # Errors
    /// The chunked coding is broken; nothing more can be read from the connection.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, BrokenChunk> {
        match self {
            Self::Endless => Ok(bytes.len()),
            Self::Sized(left) => Ok(take_counted(left, bytes)),
            Self::Chunked(head, chunks) => {
                let taken = take_counted(head, bytes);
                Ok(taken + chunks.take(&bytes[taken..])?)
            }
        }
    }
}

fn take_counted(left: &mut u64, bytes: &[u8]) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= taken as u64;
    taken
}

/// The chunked coding breaks RFC 9112 §7.1, or a line of it is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body")]
pub(super) struct BrokenChunk;

/// Follows a chunked body. Strict: lines end in CRLF, sizes are plain hexadecimal.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    size: u64,
    digits: u8,
    extension: u16,
    trailer: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Over,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size, size: 0, digits: 0, extension: 0, trailer: 0 }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<usize, BrokenChunk> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Over {
            if self.state == State::Data {
                at += take_counted(&mut self.size, &bytes[at..]);
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            self.state = self.next(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<State, BrokenChunk> {
        match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Size, b';' | b' ' | b'\t') if self.digits > 0 => Ok(State::Extension),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b'\n' | 0) => Err(BrokenChunk),
            (State::Extension, _) => {
                self.extension += 1;
                if self.extension > CHUNK_EXTENSION_MAX { Err(BrokenChunk) } else { Ok(State::Extension) }
            }
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.extension = 0;
                Ok(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, b'\n' | 0) => Err(BrokenChunk),
            (State::TrailerStart | State::Trailer, _) => {
                self.trailer += 1;
                if self.trailer > TRAILER_MAX { Err(BrokenChunk) } else { Ok(State::Trailer) }
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Over),
            _ => Err(BrokenChunk),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, BrokenChunk> {
        self.digits += 1;
        if self.digits > CHUNK_SIZE_DIGITS_MAX {
            return Err(BrokenChunk);
        }
        let value = char::from(byte).to_digit(16).ok_or(BrokenChunk)?;
        self.size = self.size * 16 + u64::from(value);
        Ok(State::Size)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Body, BrokenChunk, Message};
    use proptest::prelude::*;

    /// Feeds the bytes in pieces of `step` and returns how many the message took.
    fn taken(head_len: usize, body: Body, bytes: &[u8], step: usize) -> Result<usize, BrokenChunk> {
        let mut message = Message::new(head_len, body);
        let mut total = 0;
        for piece in bytes.chunks(step) {
            let took = message.take(piece)?;
            total += took;
            if took < piece.len() {
                assert!(message.is_over());
                break;
            }
        }
        Ok(total)
    }

    #[test]
    fn a_message_ends_where_its_framing_says_however_the_bytes_arrive() {
        let chunked = b"HEAD5\r\nhello\r\nA ;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nGET /next";
        for step in 1..chunked.len() {
            assert_eq!(taken(4, Body::Chunked, chunked, step), Ok(chunked.len() - 9), "step {step}");
            assert_eq!(taken(4, Body::Sized(3), chunked, step), Ok(7), "step {step}");
            assert_eq!(taken(4, Body::Sized(0), chunked, step), Ok(4), "step {step}");
            assert_eq!(taken(4, Body::Upgrade, chunked, step), Ok(chunked.len()), "step {step}");
        }
    }

    #[test]
    fn a_message_is_over_exactly_at_its_last_byte() {
        let mut message = Message::new(2, Body::Chunked);
        assert_eq!(message.take(b"HD1\r\nx\r\n0\r\n\r"), Ok(12));
        assert!(!message.is_over());
        assert_eq!(message.take(b"\nrest"), Ok(1));
        assert!(message.is_over());
        assert_eq!(message.take(b"rest"), Ok(0));
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [
            &b"\r\n"[..],
            b"0x5\r\nhello",
            b"5\nhello\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"+5\r\n",
            b"-1\r\n",
            b"5;a\nb\r\n",
            b"0\r\n\n",
            b"0\r\nA: b\n\r\n",
            b"fffffffffffffffff\r\n",
            b";x\r\n",
            b"5\r\rhello",
        ] {
            let mut message = Message::new(0, Body::Chunked);
            assert_eq!(message.take(body), Err(BrokenChunk), "{:?}", String::from_utf8_lossy(body));
        }
        let long = format!("5;{}\r\n", "x".repeat(2000));
        assert_eq!(Message::new(0, Body::Chunked).take(long.as_bytes()), Err(BrokenChunk));
        let long = format!("0\r\nA: {}\r\n", "x".repeat(9000));
        assert_eq!(Message::new(0, Body::Chunked).take(long.as_bytes()), Err(BrokenChunk));
    }

    proptest! {
        /// Any chunks, in any pieces, end where they end; any bytes at all never panic.
        #[test]
        fn what_was_encoded_is_taken_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            after in proptest::collection::vec(any::<u8>(), 0..20),
            step in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let len = bytes.len();
            bytes.extend_from_slice(&after);
            prop_assert_eq!(taken(0, Body::Chunked, &bytes, step), Ok(len));
            let _ = taken(0, Body::Chunked, &after, step);
        }
    }
}

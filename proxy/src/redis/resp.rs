//! The protocol (RESP2), as far as a script's numbers need it: commands are lists of strings; answers are a line of text,
//! an error, a number, or a list of numbers. Whatever is larger or deeper than that ends the connection.

use std::str;

/// Longest line of an answer.
const MOST_LINE: usize = 4_096;
/// Longest string, and most entries of a list.
const MOST_STRING: usize = 4_096;
const MOST_ENTRIES: usize = 64;
/// How much of an error is kept.
const MOST_ERROR: usize = 200;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A line.
    Text(String),
    /// An error: a word in capitals, then what happened. Printable ASCII, at most 200 bytes.
    Error(String),
    /// A list of numbers, or a single one.
    Numbers(Vec<i64>),
    /// Something else that was well-formed.
    Other,
}

/// The server does not speak the protocol, or says more than anybody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not speak the protocol of Redis")]
pub(super) struct Malformed;

/// A command.
pub(super) fn command<'a>(parts: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut command = Vec::with_capacity(256);
    head(&mut command, parts.len());
    parts.for_each(|it| part(&mut command, it));
    command
}

/// Begins a command of so many parts.
pub(super) fn head(command: &mut Vec<u8>, parts: usize) {
    command.push(b'*');
    command.extend_from_slice(parts.to_string().as_bytes());
    command.extend_from_slice(b"\r\n");
}

/// Adds a part.
pub(super) fn part(command: &mut Vec<u8>, part: &[u8]) {
    command.push(b'$');
    command.extend_from_slice(part.len().to_string().as_bytes());
    command.extend_from_slice(b"\r\n");
    command.extend_from_slice(part);
    command.extend_from_slice(b"\r\n");
}

/// Takes the first answer out of what was read; `None`: it is not whole yet.
pub(super) fn take(read: &mut bytes::BytesMut) -> Result<Option<Reply>, Malformed> {
    let mut reader = Reader { read, at: 0 };
    let reply = reader.reply()?;
    let end = reader.at;
    if reply.is_some() {
        let _ = read.split_to(end);
    }
    Ok(reply)
}

struct Reader<'a> {
    read: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn reply(&mut self) -> Result<Option<Reply>, Malformed> {
        let Some((kind, line)) = self.line()? else { return Ok(None) };
        Ok(Some(match kind {
            b'+' => Reply::Text(printable(line)),
            b'-' => Reply::Error(printable(line)),
            b':' => Reply::Numbers(vec![number(line)?]),
            b'$' => return self.string(number(line)?),
            b'*' => return self.list(number(line)?),
            _ => return Err(Malformed),
        }))
    }

    /// The kind of an answer, and the rest of its line.
    fn line(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        let rest = self.read.get(self.at..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return if rest.len() > MOST_LINE { Err(Malformed) } else { Ok(None) };
        };
        let line = rest.get(..end).and_then(|it| it.strip_suffix(b"\r")).ok_or(Malformed)?;
        let (kind, line) = line.split_first().ok_or(Malformed)?;
        if line.len() > MOST_LINE {
            return Err(Malformed);
        }
        self.at += end + 1;
        Ok(Some((*kind, line)))
    }

    /// A string is nothing that anybody asked for; it is passed over.
    fn string(&mut self, len: i64) -> Result<Option<Reply>, Malformed> {
        if len == -1 {
            return Ok(Some(Reply::Other));
        }
        let len = usize::try_from(len).ok().filter(|it| *it <= MOST_STRING).ok_or(Malformed)?;
        let end = self.at + len + 2;
        if self.read.len() < end {
            return Ok(None);
        }
        self.at = end;
        Ok(Some(Reply::Other))
    }

    fn list(&mut self, len: i64) -> Result<Option<Reply>, Malformed> {
        if len == -1 {
            return Ok(Some(Reply::Other));
        }
        let len = usize::try_from(len).ok().filter(|it| *it <= MOST_ENTRIES).ok_or(Malformed)?;
        let mut numbers = Vec::with_capacity(len);
        for _ in 0..len {
            match self.line()? {
                Some((b':', line)) => numbers.push(number(line)?),
                Some(_) => return Err(Malformed),
                None => return Ok(None),
            }
        }
        Ok(Some(Reply::Numbers(numbers)))
    }
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    str::from_utf8(line).ok().and_then(|it| it.parse().ok()).ok_or(Malformed)
}

fn printable(line: &[u8]) -> String {
    let shown = line.iter().take(MOST_ERROR);
    shown.map(|it| if (b' '..=b'~').contains(it) { char::from(*it) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn all(text: &[u8]) -> Result<Vec<Reply>, Malformed> {
        let mut read = BytesMut::from(text);
        let mut replies = Vec::new();
        while let Some(reply) = take(&mut read)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[test]
    fn a_command_is_a_list_of_strings() {
        let parts: [&[u8]; 2] = [b"AUTH", b"p\r\n"];
        assert_eq!(command(parts.into_iter()), b"*2\r\n$4\r\nAUTH\r\n$3\r\np\r\n\r\n");
    }

    #[test]
    fn answers_are_taken_one_by_one() {
        let read = all(b"+OK\r\n-ERR no\x01\r\n:-7\r\n*2\r\n:1\r\n:2\r\n*-1\r\n$3\r\na\r\n\r\n$-1\r\n*0\r\n")
            .unwrap();
        let expected = [
            Reply::Text("OK".to_owned()),
            Reply::Error("ERR no?".to_owned()),
            Reply::Numbers(vec![-7]),
            Reply::Numbers(vec![1, 2]),
            Reply::Other,
            Reply::Other,
            Reply::Other,
            Reply::Numbers(vec![]),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_no_answer_or_too_large_is_refused() {
        let long = [b"+", vec![b'x'; MOST_LINE + 2].as_slice()].concat();
        let cases: [&[u8]; 9] = [
            b"HTTP/1.1 400\r\n",
            b"+OK\n",
            b"\r\n",
            b":x\r\n",
            b"*65\r\n",
            b"$9999999\r\n",
            b"*-2\r\n",
            b"*1\r\n$1\r\n",
            &long,
        ];
        for bad in cases {
            assert_eq!(all(bad), Err(Malformed), "{}", String::from_utf8_lossy(bad));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_never_panics_and_parts_of_an_answer_wait(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0..20_usize,
        ) {
            let _ = all(&noise);
            let whole = b"*2\r\n:1\r\n:-20\r\n$2\r\nab\r\n";
            let mut read = BytesMut::from(&whole[..cut]);
            let first = take(&mut read).unwrap();
            prop_assert_eq!(first.is_some(), cut >= 14);
        }
    }
}

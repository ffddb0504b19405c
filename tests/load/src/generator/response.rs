//! Reads HTTP/1.1 heads: just enough to judge an answer, without copying it.

/// What a response head says about the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head, with the empty line.
    pub(crate) length: usize,
    /// Status code.
    pub(crate) status: u16,
    /// Bytes of the body; `None`: the answer is framed otherwise.
    pub(crate) body_bytes: Option<u64>,
    /// The server will close the connection after this answer.
    pub(crate) close: bool,
}

/// Parses the head at the start of `bytes`. `Ok(None)`: it is not complete yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let Some(length) = end_of_head(bytes) else {
        return Ok(None);
    };
    let head = &bytes[..length];
    // RFC 9112 §4: HTTP-version SP status-code SP
    let close_by_default = head.starts_with(b"HTTP/1.0 ");
    if !(head.starts_with(b"HTTP/1.1 ") || close_by_default) {
        return Err("malformed status line");
    }
    let status = head.get(9..12).and_then(number).ok_or("malformed status line")?;
    let body_bytes = match header(head, b"content-length") {
        Some(value) => Some(number(value).ok_or("malformed content-length")?),
        None => None,
    };
    let close = match header(head, b"connection") {
        Some(value) => value.eq_ignore_ascii_case(b"close"),
        None => close_by_default,
    };
    Ok(Some(Head { length, status: u16::try_from(status).unwrap_or(u16::MAX), body_bytes, close }))
}

/// Bytes of the head at the start of `bytes`, with its empty line; `None` when it is not complete.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The first value of header `name` (lower case) in `head`.
pub(crate) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
        {
            return Some(line[name.len() + 1..].trim_ascii());
        }
    }
    None
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_head_is_read_with_its_length_status_and_framing() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nCONTENT-length:  12 \r\nConnection: Close\r\n\r\nbody";
        let head = parse(bytes).unwrap().unwrap();
        assert_eq!(head, Head { length: bytes.len() - 4, status: 200, body_bytes: Some(12), close: true });
    }

    #[test]
    fn every_cut_of_a_head_is_incomplete_and_not_an_error() {
        let bytes = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parse(bytes).unwrap().unwrap().status, 404);
    }

    #[test]
    fn an_http_1_0_answer_closes_unless_it_says_otherwise() {
        assert!(parse(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().close);
        assert!(!parse(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n").unwrap().unwrap().close);
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(parse(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 2x0 OK\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
    }

    #[test]
    fn a_header_is_found_whole_by_name_only() {
        let head = b"HTTP/1.1 200 OK\r\nx-version-old: 1\r\nX-Version: 2\r\n\r\n";
        assert_eq!(header(head, b"x-version"), Some(&b"2"[..]));
        assert_eq!(header(head, b"x-absent"), None);
    }
}

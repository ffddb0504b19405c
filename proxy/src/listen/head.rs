//! The strict check of a raw HTTP/1 request head, before anything else reads it.
//!
//! In: the bytes of one head. Out: how its body is delimited, or why it is refused. Everything that two parsers could
//! read in two ways is refused (RFC 9112 §2.2, §3.2, §5.1, §6), because what is ambiguous here is request smuggling
//! behind. One pass, no allocation.

use super::forward::Destination;
use super::framing::Body;
use crate::telemetry::Outcome;
use memchr::memchr;

/// Bytes of a field that are looked at before it is decided whether one of them is wrong.
const AT_ONCE: usize = 32;

/// Why a head is refused: the outcome gives the status, the reason is the text of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status, log word and metric label.
    pub outcome: Outcome,
    /// One line for the client and the log.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with this outcome and reason.
    pub const fn new(outcome: Outcome, reason: &'static str) -> Self {
        Self { outcome, reason }
    }
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal::new(Outcome::BadRequest, reason)
}

/// Finds the end of a head in a buffer that grows.
#[derive(Debug, Default)]
pub struct HeadEnd {
    scanned: usize,
    line_start: usize,
}

impl HeadEnd {
    /// The length of the head once its empty line is there. Looks only at what was not seen before.
    ///
    /// # Errors
    /// A line does not end in CRLF.
    pub fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = memchr(b'\n', &buffer[self.scanned..]) {
            let at = self.scanned + offset;
            if at == self.line_start || buffer[at - 1] != b'\r' {
                return Err(bad("a line of the head does not end in CRLF"));
            }
            self.scanned = at + 1;
            if at == self.line_start + 1 {
                return Ok(Some(at + 1));
            }
            self.line_start = at + 1;
        }
        self.scanned = buffer.len();
        Ok(None)
    }
}

/// Checks a whole head, from the request line to the empty line, and says how its body is delimited.
///
/// # Errors
/// What is wrong with it; the connection must be closed.
pub fn check(head: &[u8], headers_max: u32) -> Result<Body, Refusal> {
    let mut lines = Lines(head);
    let request = RequestLine::parse(lines.next_line()?)?;
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let line = lines.next_line()?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > headers_max {
            return Err(Refusal::new(Outcome::HeadTooLarge, "too many header fields"));
        }
        let (name, value) = field(line)?;
        fields.note(name, value)?;
    }
    fields.check(&request)
}

/// Checks the whole head of a request for a tunnel (RFC 9110 §9.3.6) and says where it is to lead.
///
/// # Errors
/// What is wrong with it; the connection must be closed.
pub(super) fn connect(head: &[u8], headers_max: u32) -> Result<Destination, Refusal> {
    let mut lines = Lines(head);
    let line = lines.next_line()?;
    let target = line.strip_prefix(b"CONNECT ").and_then(|rest| rest.strip_suffix(b" HTTP/1.1"));
    let target = target.ok_or(bad("a tunnel is asked for by CONNECT HOST:PORT HTTP/1.1"))?;
    let destination = destination(target).ok_or(bad("CONNECT needs a host and a port"))?;
    let mut fields = Fields::default();
    for count in 1.. {
        let line = lines.next_line()?;
        if line.is_empty() {
            break;
        }
        if count > headers_max {
            return Err(Refusal::new(Outcome::HeadTooLarge, "too many header fields"));
        }
        let (name, value) = field(line)?;
        fields.note(name, value)?;
    }
    // RFC 9112 §3.2.3: the target is the authority; the Host says the same.
    if !fields.host.is_some_and(|host| host.eq_ignore_ascii_case(target)) {
        return Err(bad("the request target's host is not the Host"));
    }
    if fields.chunked || fields.length.is_some_and(|len| len > 0) {
        return Err(bad("CONNECT with a body"));
    }
    Ok(destination)
}

fn destination(target: &[u8]) -> Option<Destination> {
    if !is_authority(target) {
        return None;
    }
    let (host, port) = std::str::from_utf8(target).ok()?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then(|| Destination { host: host.into(), port })
}

/// Lines that end in CRLF.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<&'a [u8], Refusal> {
        let end = memchr(b'\n', self.0).ok_or(bad("the head is not complete"))?;
        let line = self.0[..end].strip_suffix(b"\r").ok_or(bad("a line of the head does not end in CRLF"))?;
        self.0 = &self.0[end + 1..];
        Ok(line)
    }
}

/// What of the request line the header fields are checked against.
struct RequestLine<'a> {
    http_1_0: bool,
    /// Authority of a target in absolute form.
    authority: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let first = memchr(b' ', line).ok_or(bad("malformed request line"))?;
        let (method, rest) = (&line[..first], &line[first + 1..]);
        let second = memchr(b' ', rest).ok_or(bad("malformed request line"))?;
        let (target, version) = (&rest[..second], &rest[second + 1..]);
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(bad("malformed method"));
        }
        // Letters beyond ASCII are no part of RFC 3986, but clients send them as UTF-8.
        let is_wrong = |byte| byte <= b' ' || byte == 0x7f || byte == b'#';
        if target.is_empty() || has_any(target, is_wrong) || std::str::from_utf8(target).is_err() {
            return Err(bad("malformed request target"));
        }
        let http_1_0 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ if version.starts_with(b"HTTP/") && !version.contains(&b' ') => {
                return Err(bad("unsupported HTTP version"));
            }
            _ => return Err(bad("malformed request line")),
        };
        if method == b"CONNECT" {
            return Err(Refusal::new(Outcome::MethodRefused, "CONNECT is not supported"));
        }
        let authority = match target {
            [b'/', ..] => None,
            b"*" if method == b"OPTIONS" => None,
            _ => Some(absolute_authority(target)?),
        };
        Ok(Self { http_1_0, authority })
    }
}

/// Writes the host of a target in absolute form as the Host has it, where a head that was [checked](check) spells the two
/// in different cases: hosts are the same in any (RFC 9110 §4.2.3), and whoever reads the head next compares bytes.
pub(super) fn align(head: &mut [u8]) {
    let Some((target, host)) = spelled_otherwise(head) else { return };
    head.copy_within(host, target);
}

/// Where the authority of the target begins and where the Host is, if they differ in their case.
fn spelled_otherwise(head: &[u8]) -> Option<(usize, std::ops::Range<usize>)> {
    let start = memchr(b' ', head)? + 1;
    if matches!(head.get(start), Some(b'/' | b'*')) {
        return None;
    }
    let target = head.get(start..)?;
    let authority = absolute_authority(target.get(..memchr(b' ', target)?)?).ok()?;
    let at = start + target.windows(3).position(|it| it == b"://")? + 3;
    let mut line_start = memchr(b'\n', head)? + 1;
    loop {
        let line_end = line_start + memchr(b'\n', head.get(line_start..)?)?;
        let line = head.get(line_start..line_end)?;
        if let Some((name, value)) = line.split_first_chunk::<5>()
            && name.eq_ignore_ascii_case(b"host:")
        {
            let value = trim(value.strip_suffix(b"\r").unwrap_or(value));
            let blanks = line.get(5..)?.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let begin = line_start + 5 + blanks;
            let is_other = value != authority && value.eq_ignore_ascii_case(authority);
            return is_other.then(|| (at, begin..begin + value.len()));
        }
        line_start = line_end + 1;
    }
}

/// The authority of `http://authority/…` (RFC 9112 §3.2.2).
fn absolute_authority(target: &[u8]) -> Result<&[u8], Refusal> {
    let malformed = bad("malformed request target");
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| &target[scheme.len()..])
        .ok_or(malformed)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if end == 0 { Err(malformed) } else { Ok(&rest[..end]) }
}

/// Splits a field line (RFC 9112 §5).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(bad("folded header line"));
    }
    let colon = memchr(b':', line).ok_or(bad("header line without colon"))?;
    let name = &line[..colon];
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(bad("malformed header name"));
    }
    let value = trim(&line[colon + 1..]);
    if has_any(value, |byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(bad("control character in a header value"));
    }
    Ok((name, value))
}

/// Whether any byte is wrong. Looks at many bytes at once: without a branch for each the compiler does so.
fn has_any(bytes: &[u8], is_wrong: impl Fn(u8) -> bool) -> bool {
    bytes.chunks(AT_ONCE).any(|chunk| chunk.iter().fold(false, |any, byte| any | is_wrong(*byte)))
}

/// Without optional white space at both ends (RFC 9110 §5.6.3): only spaces and tabs, so that a bare CR stays visible.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The fields that decide framing and authority.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), Refusal> {
        // Length and first letter sort out almost all names before the comparison.
        match (name.len(), name[0].to_ascii_lowercase()) {
            (4, b'h') if name.eq_ignore_ascii_case(b"host") => self.note_host(value),
            (14, b'c') if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            (17, b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_encoding(value),
            (10, b'c') if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            (7, b'u') if name.eq_ignore_ascii_case(b"upgrade") => {
                // The upgrade to h2c is gone (RFC 9113 §3.1) and always declined: such a request ends like any other.
                self.upgrade |= !value.eq_ignore_ascii_case(b"h2c");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(bad("more than one Host"));
        }
        if !is_authority(value) {
            return Err(bad("malformed Host"));
        }
        self.host = Some(value);
        Ok(())
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(bad("more than one Content-Length"));
        }
        // At most 18 digits: always below 2^63.
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad("malformed Content-Length"));
        }
        self.length = Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn note_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(bad("more than one Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("Transfer-Encoding other than chunked"));
        }
        self.chunked = true;
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in value.split(|byte| *byte == b',').map(trim) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                self.connection_upgrade = true;
            } else if must_stay_end_to_end(option) {
                return Err(bad("Connection names a field that is not hop by hop"));
            }
        }
        Ok(())
    }

    fn check(&self, request: &RequestLine<'_>) -> Result<Body, Refusal> {
        if self.host.is_none() && !request.http_1_0 {
            return Err(bad("no Host"));
        }
        if let Some(authority) = request.authority
            && !self.host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
        {
            return Err(bad("the request target's host is not the Host"));
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(bad("Transfer-Encoding and Content-Length")),
            (true, None) if request.http_1_0 => Err(bad("Transfer-Encoding in HTTP/1.0")),
            _ if self.upgrade && self.connection_upgrade && !request.http_1_0 => Ok(Body::Upgrade),
            (true, None) => Ok(Body::Chunked),
            (false, length) => Ok(Body::Sized(length.unwrap_or(0))),
        }
    }
}

/// Fields that a client must not have removed on the way by naming them in `Connection` (RFC 9110 §7.6.1): they
/// frame the message, name its host, or carry what policies decide by.
fn must_stay_end_to_end(option: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"content-type",
        b"authorization",
        b"cookie",
        b"forwarded",
        b"x-real-ip",
        b"x-request-id",
    ];
    const FORWARDED: &[u8] = b"x-forwarded-";
    NAMES.iter().any(|name| option.eq_ignore_ascii_case(name))
        || option.get(..FORWARDED.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORWARDED))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        let marks = b"!#$%&'*+-.^_`|~";
        while at < marks.len() {
            table[marks[at] as usize] = true;
            at += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// Host and optional port, without user information: `example.com`, `192.0.2.1:80`, `[2001:db8::1]:80`.
fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr(b']', rest) else { return false };
            let address = &rest[..end];
            let valid = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            if address.is_empty() || !address.iter().all(valid) {
                return false;
            }
            (address, &rest[end + 1..])
        }
        _ => {
            let end = memchr(b':', value).unwrap_or(value.len());
            let host = &value[..end];
            let valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
            if !host.iter().all(valid) {
                return false;
            }
            (host, &value[end..])
        }
    };
    let port_valid = match port {
        [] => true,
        [b':', digits @ ..] => {
            !digits.is_empty() && digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    !host.is_empty() && port_valid
}

#[cfg(test)]
mod tests;

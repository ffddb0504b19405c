//! An answer, and how it is read from the bytes of HTTP/1.1.

use bytes::Bytes;
use serde_json::Value;

/// A complete answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Of the final answer.
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without framing.
    pub body: Bytes,
    /// After the body, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// Statuses of interim answers before this one.
    pub interim: Vec<u16>,
    /// Names of the server's certificate's chain in DER, leaf first, where TLS was spoken.
    pub certificates: Vec<Vec<u8>>,
}

impl Answer {
    /// The first field of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields of a name, joined.
    pub fn joined(&self, name: &str) -> Option<String> {
        let all = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let values: Vec<_> = all.map(|(_, value)| value.as_str()).collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Name of the echo that answered.
    pub fn backend(&self) -> Option<&str> {
        self.header("x-echo-backend")
    }

    /// A field of the request as the echo saw it; several are joined.
    pub fn seen_header(&self, name: &str) -> Option<String> {
        let json = self.json();
        let pairs = json["headers"].as_array()?;
        let values: Vec<_> = pairs
            .iter()
            .filter(|pair| pair[0].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name)))
            .filter_map(|pair| pair[1].as_str())
            .collect();
        if values.is_empty() { None } else { Some(values.join(", ")) }
    }

    /// A text of the JSON that the echo answers: `path`, `query`, `method`, `host`, `body`, ...
    pub fn seen(&self, what: &str) -> String {
        match &self.json()[what] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Whether the connection ends with this answer.
    pub fn closes(&self) -> bool {
        self.joined("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }
}

/// What a buffer holds.
#[derive(Debug)]
pub enum Parsed {
    /// A whole answer and how many bytes it took.
    Whole(Answer, usize),
    /// More bytes are needed.
    Partial,
    /// The answer has no length: it ends with the connection.
    UntilClose(Answer, usize),
}

/// Reads one answer, with the interim answers before it. `head_only`: the request was a HEAD.
pub fn parse(buffer: &[u8], head_only: bool) -> Result<Parsed, String> {
    let mut interim = Vec::new();
    let mut at = 0;
    loop {
        let Some((mut answer, length)) = head(&buffer[at..])? else { return Ok(Parsed::Partial) };
        at += length;
        if (100..200).contains(&answer.status) && answer.status != 101 {
            interim.push(answer.status);
            continue;
        }
        answer.interim = interim;
        if head_only || matches!(answer.status, 101 | 204 | 304) {
            return Ok(Parsed::Whole(answer, at));
        }
        if answer.joined("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return chunked(answer, buffer, at);
        }
        return match answer.header("content-length").map(str::parse::<usize>) {
            Some(Ok(length)) if buffer.len() < at + length => Ok(Parsed::Partial),
            Some(Ok(length)) => {
                answer.body = Bytes::copy_from_slice(&buffer[at..at + length]);
                Ok(Parsed::Whole(answer, at + length))
            }
            Some(Err(error)) => Err(format!("content-length: {error}")),
            None => Ok(Parsed::UntilClose(answer, at)),
        };
    }
}

/// The head and its length, when it is complete.
fn head(buffer: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&buffer[..end]);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some("HTTP/1.1" | "HTTP/1.0"), Some(status)) = (words.next(), words.next()) else {
        return Err(format!("no status line: {first:?}"));
    };
    let status = status.parse().map_err(|_| format!("no status line: {first:?}"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no field: {line:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some((Answer { status, headers, ..Answer::default() }, end + 4)))
}

fn chunked(mut answer: Answer, buffer: &[u8], mut at: usize) -> Result<Parsed, String> {
    let mut body = Vec::new();
    loop {
        let Some(line) = find(&buffer[at..], b"\r\n") else { return Ok(Parsed::Partial) };
        let size = String::from_utf8_lossy(&buffer[at..at + line]).into_owned();
        let size = size.split(';').next().unwrap_or_default().trim().to_owned();
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        at += line + 2;
        if size == 0 {
            break;
        }
        if buffer.len() < at + size + 2 {
            return Ok(Parsed::Partial);
        }
        body.extend_from_slice(&buffer[at..at + size]);
        if &buffer[at + size..at + size + 2] != b"\r\n" {
            return Err("chunk without end".to_owned());
        }
        at += size + 2;
    }
    loop {
        let Some(line) = find(&buffer[at..], b"\r\n") else { return Ok(Parsed::Partial) };
        let text = String::from_utf8_lossy(&buffer[at..at + line]).into_owned();
        at += line + 2;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| format!("no trailer: {text:?}"))?;
        answer.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    answer.body = body.into();
    Ok(Parsed::Whole(answer, at))
}

/// Position of the first `needle`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::{Parsed, parse};

    #[test]
    fn interim_answers_chunks_and_trailers_are_read() {
        let bytes = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\nHTTP";
        let Ok(Parsed::Whole(answer, length)) = parse(bytes, false) else { panic!() };
        assert_eq!((answer.status, &answer.body[..], answer.interim), (200, &b"abc"[..], vec![103]));
        assert_eq!(answer.trailers, [("x-t".to_owned(), "1".to_owned())]);
        assert_eq!(length, bytes.len() - 4);
        assert!(matches!(parse(&bytes[..bytes.len() - 7], false), Ok(Parsed::Partial)));
    }
}

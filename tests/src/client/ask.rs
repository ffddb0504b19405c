//! A request to send.

use bytes::Bytes;

/// A request. The URL's scheme and port say which listener is meant, its host is the Host.
#[derive(Clone, Debug)]
pub struct Ask {
    /// As it goes into the request line.
    pub method: String,
    /// Whether the URL begins with `https`.
    pub tls: bool,
    /// Host and port as in the URL; goes into Host or `:authority`.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// In order.
    pub headers: Vec<(String, String)>,
    /// Sent with Content-Length when not empty, or when the method usually has one.
    pub body: Bytes,
}

impl Ask {
    /// A GET of an `http` or `https` URL.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A request of any method.
    pub fn new(method: &str, url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or_else(|| panic!("{url:?} has no scheme"));
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let slash = if target.starts_with('/') { "" } else { "/" };
        Self {
            method: method.to_owned(),
            tls: scheme == "https",
            authority: authority.to_owned(),
            target: format!("{slash}{target}"),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Host without port.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }

    /// The listener's port: that of the URL, else 80 or 443.
    pub fn port(&self) -> u16 {
        let named = self.authority.strip_prefix(self.host()).and_then(|rest| rest.strip_prefix(':'));
        named.and_then(|port| port.parse().ok()).unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The request in HTTP/1.1.
    pub fn to_http1(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.authority);
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let framed = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !framed && (!self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH")) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Ask;

    #[test]
    fn a_url_names_listener_host_and_target() {
        let ask = Ask::get("https://a.example:8443/p?q=1");
        assert_eq!(
            (ask.host(), ask.port(), ask.target.as_str(), ask.tls),
            ("a.example", 8443, "/p?q=1", true)
        );
        let ask = Ask::get("http://a.example?q");
        assert_eq!((ask.host(), ask.port(), ask.target.as_str(), ask.tls), ("a.example", 80, "/?q", false));
    }
}

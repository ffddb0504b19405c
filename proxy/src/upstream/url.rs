//! Addresses that a person writes: of key sets, of collectors.

use http::Uri;

/// `https://HOST[:PORT]/PATH`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    pub(crate) is_tls: bool,
    /// Without brackets, lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As Host has it.
    pub(crate) authority: String,
    /// With the query.
    pub(crate) path: String,
}

impl HttpUrl {
    /// `None`: it is no address of http or https, or it holds a user.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        Some(Self {
            is_tls,
            host: authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: uri.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::HttpUrl;

    #[test]
    fn an_address_is_http_without_a_user() {
        let url = HttpUrl::parse("https://Id.Example.:8443/keys?a=b").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.is_tls), ("id.example", 8443, true));
        assert_eq!(url.path, "/keys?a=b");
        assert_eq!(HttpUrl::parse("http://[::1]/").unwrap().host, "::1");
        for bad in [
            "file:///etc/passwd",
            "ftp://a/",
            "//a/b",
            "/keys",
            "https://",
            "https://u:p@a/",
            "gopher://a",
            "",
        ] {
            assert!(HttpUrl::parse(bad).is_none(), "{bad}");
        }
    }
}

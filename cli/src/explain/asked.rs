//! The request that is asked about, read from what one would type for curl.

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use sluice_route::host::host_of;
use std::net::{IpAddr, Ipv4Addr};

/// What the URL's scheme says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `http` and `https`.
    Requests,
    /// `tls`: a connection with a ClientHello.
    Tls,
    /// `tcp`: any connection.
    Tcp,
    /// `udp`: datagrams.
    Udp,
}

impl Carrier {
    /// `TLS`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A request, or a stream.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As typed.
    pub url: String,
    /// As typed; methods are case-sensitive.
    pub method: String,
    /// What is carried.
    pub carrier: Carrier,
    /// Whether the connection is TLS.
    pub is_tls: bool,
    /// The URL's host: the server name of a TLS connection.
    pub server_name: String,
    /// The URL's host when it is an address, or the one given beside it.
    pub address: Option<IpAddr>,
    /// The URL's port, or the scheme's.
    pub port: u16,
    /// The gateway's port offset.
    pub port_offset: u16,
    /// The host that decides: of the header `Host` if there is one, else of the URL. Lower case, without port.
    pub host: String,
    /// As typed, `/` when absent.
    pub path: String,
    /// What follows `?`.
    pub query: Option<String>,
    /// The header, `host` included.
    pub headers: HeaderMap,
    /// The forward proxy that is asked, if one is.
    pub proxied: Option<Proxied>,
    /// Who the client has proven to be: `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    pub identity: Option<String>,
    /// The client's address.
    pub client: IpAddr,
}

/// What a forward proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Where it is to lead: the URL's host.
    pub host: String,
    /// The URL's port, or the scheme's.
    pub port: u16,
    /// By CONNECT; else by a target in absolute form.
    pub is_tunnel: bool,
}

impl Asked {
    /// Reads a URL and fields like `name: value`.
    ///
    /// # Errors
    /// When one of them is not of that form.
    pub fn new(method: &str, url: &str, fields: &[String]) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        let (carrier, is_tls) = match uri.scheme_str() {
            Some("http") => (Carrier::Requests, false),
            Some("https") => (Carrier::Requests, true),
            Some("tls") => (Carrier::Tls, true),
            Some("tcp") => (Carrier::Tcp, false),
            Some("udp") => (Carrier::Udp, false),
            _ => bail!("{url:?} has no scheme; write http://{url} or https://{url}"),
        };
        http::Method::from_bytes(method.as_bytes()).with_context(|| format!("{method:?} is no method"))?;
        let authority = uri.authority().with_context(|| format!("{url:?} has no host"))?.as_str();
        let (server_name, port) =
            host_of(authority).with_context(|| format!("the host of {url:?} is refused"))?;
        if matches!(carrier, Carrier::Tcp | Carrier::Udp) && port.is_none() {
            bail!("{url:?} has no port; write {url}:PORT");
        }
        let mut headers = header(fields)?;
        let host = match headers.get(http::header::HOST) {
            Some(host) => {
                let host = host.to_str().context("the Host field is no text")?;
                host_of(host).with_context(|| format!("the Host field {host:?} is refused"))?.0.into_owned()
            }
            None => server_name.to_string(),
        };
        if !headers.contains_key(http::header::HOST) {
            headers
                .insert(http::header::HOST, authority.parse().context("the URL's host is no header value")?);
        }
        Ok(Self {
            url: url.to_owned(),
            method: method.to_owned(),
            carrier,
            is_tls,
            address: server_name.trim_matches(['[', ']']).parse().ok(),
            server_name: server_name.into_owned(),
            port: port.unwrap_or(if is_tls { 443 } else { 80 }),
            port_offset: 0,
            host,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
            headers,
            proxied: None,
            identity: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        })
    }

    /// The same, asked of the forward proxy on `port` as curl does: requests in the clear by a target in absolute form,
    /// unless `in_tunnel`, everything else by CONNECT.
    ///
    /// # Errors
    /// When no forward proxy takes it.
    pub fn of_proxy(self, port: u16, in_tunnel: bool) -> anyhow::Result<Self> {
        if self.carrier == Carrier::Udp {
            bail!("a forward proxy carries no datagrams");
        }
        let is_tunnel = in_tunnel || self.is_tls || self.carrier != Carrier::Requests;
        let host = self.server_name.trim_matches(['[', ']']).to_owned();
        let proxied = Proxied { host, port: self.port, is_tunnel };
        // The connection to the proxy is a plain one, and the URL's address is not the proxy's.
        Ok(Self { port, is_tls: false, address: None, proxied: Some(proxied), ..self })
    }

    /// The name that a TLS client would send: none when the host is an address (RFC 6066 §3).
    pub fn tls_name(&self) -> Option<&str> {
        let is_address = self.server_name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address { None } else { Some(&self.server_name) }
    }
}

fn header(fields: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) = field
            .split_once(':')
            .with_context(|| format!("{field:?} is no header field; write it as 'name: value'"))?;
        let name: HeaderName = name.trim().parse().with_context(|| format!("{name:?} is no header name"))?;
        let value: HeaderValue =
            value.trim().parse().with_context(|| format!("{value:?} is no header value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

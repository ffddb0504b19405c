//! What policies look at.

use http::HeaderMap;
use std::borrow::Cow;
use std::net::IpAddr;

/// A request, or a connection that is carried whole.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Who the peer has proven to be; `None`: nobody.
    pub peer: Option<Peer<'a>>,
    /// The peer of the socket.
    pub source: IpAddr,
    /// The client, where proxies before this one are believed.
    pub remote: IpAddr,
    /// Where the client came to.
    pub destination: IpAddr,
    /// Port of the same: of a workload its own.
    pub port: u16,
    /// Server name of the TLS handshake, lower case.
    pub server_name: Option<&'a str>,
    /// `None`: a connection.
    pub request: Option<RequestFacts<'a>>,
}

/// A request's own facts.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// As sent.
    pub method: &'a str,
    /// Host or `:authority` as sent, lower case.
    pub host: &'a str,
    /// The same without port and trailing dot.
    pub host_name: &'a str,
    /// Every reading of the path ([`sluice_route::readings`]); the path itself first; never empty.
    pub paths: &'a [Cow<'a, str>],
    /// All fields.
    pub headers: &'a HeaderMap,
    /// The token that was believed.
    pub token: Option<&'a dyn Token>,
}

/// What a token says that was believed (RFC 7519).
pub trait Token {
    /// `ISSUER/SUBJECT`.
    fn principal(&self) -> &str;
    /// Whether `seen` takes one of the values of `aud`.
    fn audience(&self, seen: &mut dyn FnMut(&str) -> bool) -> bool;
    /// `azp`.
    fn presenter(&self) -> Option<&str>;
    /// Whether `seen` takes one of the values of claim `[a][b]`.
    fn claim(&self, path: &[String], seen: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// A peer: `TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a> {
    /// Without `spiffe://`.
    pub principal: &'a str,
    /// Before the first slash.
    pub trust_domain: &'a str,
    /// `ns/NAMESPACE/sa/SERVICE-ACCOUNT`, of identities that have this form.
    pub account: Option<&'a str>,
    /// Of the same.
    pub namespace: Option<&'a str>,
}

impl<'a> Peer<'a> {
    /// Of a SPIFFE ID, with or without `spiffe://`.
    pub fn of(id: &'a str) -> Self {
        let principal = id.strip_prefix("spiffe://").unwrap_or(id);
        let (trust_domain, path) = principal.split_once('/').unwrap_or((principal, ""));
        let namespace = namespace(path);
        Self { principal, trust_domain, account: namespace.map(|_| path), namespace }
    }
}

/// The namespace in `ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
fn namespace(path: &str) -> Option<&str> {
    let (namespace, rest) = path.strip_prefix("ns/")?.split_once('/')?;
    let account = rest.strip_prefix("sa/")?;
    (!namespace.is_empty() && !account.is_empty() && !account.contains('/')).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn an_identity_has_its_parts_or_is_only_a_name() {
        let peer = Peer::of("spiffe://td.example/ns/shop/sa/web");
        assert_eq!((peer.principal, peer.trust_domain), ("td.example/ns/shop/sa/web", "td.example"));
        assert_eq!((peer.namespace, peer.account), (Some("shop"), Some("ns/shop/sa/web")));
        for other in
            ["td/ns/shop", "td/ns/shop/sa/", "td/ns//sa/web", "td/ns/shop/sa/web/x", "td", "td/x/shop/sa/web"]
        {
            let peer = Peer::of(other);
            assert_eq!((peer.principal, peer.namespace, peer.account), (other, None, None));
            assert_eq!(peer.trust_domain, "td");
        }
    }
}

//! What a port speaks: its `appProtocol`, else what its name begins with, else it is found out (Istio, protocol selection).

use crate::backend::Caller;
use sluice_crds::Kind;

/// Ports whose servers speak first, so that nothing can be found out from the client's first bytes: SMTP, DNS, MySQL,
/// MongoDB.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// HTTP/1.1 and what it is upgraded to.
    Http1,
    /// HTTP/2, gRPC among it.
    Http2,
    /// TLS that is the application's own.
    Tls,
    /// Anything else.
    Tcp,
    /// Nobody says.
    Unknown,
}

impl Speech {
    /// Of a port of a Service.
    pub(super) fn of_service(app_protocol: Option<&str>, name: &str, port: u16) -> Self {
        let said = match app_protocol {
            Some(word) => Self::of_word(word),
            None if name == "grpc-web" || name.starts_with("grpc-web-") => Some(Self::Http1),
            None => Self::of_word(name.split('-').next().unwrap_or_default()),
        };
        said.unwrap_or(if SERVER_FIRST.contains(&port) { Self::Tcp } else { Self::Unknown })
    }

    /// Of a port of a ServiceEntry, whose word must be known.
    pub(super) fn of_entry(protocol: &str) -> Self {
        Self::of_word(protocol).unwrap_or(Self::Tcp)
    }

    fn of_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" | "kubernetes.io/ws" | "grpc-web" => Self::Http1,
            "http2" | "grpc" | "kubernetes.io/h2c" => Self::Http2,
            "https" | "tls" | "kubernetes.io/wss" => Self::Tls,
            "tcp" | "mongo" | "redis" | "mysql" => Self::Tcp,
            _ => return None,
        })
    }

    /// Which kinds of routes are for it.
    pub(super) fn takes(self, kind: Kind) -> bool {
        match kind {
            Kind::HttpRoute | Kind::GrpcRoute => matches!(self, Self::Http1 | Self::Http2 | Self::Unknown),
            Kind::TlsRoute => matches!(self, Self::Tls | Self::Tcp | Self::Unknown),
            Kind::TcpRoute => true,
            _ => false,
        }
    }

    /// As what its endpoints are called: for requests, and for whole connections.
    pub(super) fn callers(self) -> (Option<Caller>, Option<Caller>) {
        match self {
            Self::Http1 => (Some(Caller::Http), None),
            Self::Http2 => (Some(Caller::Grpc), None),
            Self::Tls | Self::Tcp => (None, Some(Caller::Tcp)),
            Self::Unknown => (Some(Caller::Detected), Some(Caller::Tcp)),
        }
    }

    /// For people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP",
            Self::Http2 => "HTTP/2",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Unknown => "anything",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Speech;

    #[test]
    fn the_protocol_of_the_application_comes_before_the_name_and_the_name_before_the_number() {
        assert_eq!(Speech::of_service(Some("tcp"), "http-web", 80), Speech::Tcp);
        assert_eq!(Speech::of_service(None, "grpc-api", 80), Speech::Http2);
        assert_eq!(Speech::of_service(None, "grpc-web", 80), Speech::Http1);
        assert_eq!(Speech::of_service(None, "https", 443), Speech::Tls);
        assert_eq!(Speech::of_service(None, "http", 3306), Speech::Http1);
        assert_eq!(Speech::of_service(None, "db", 3306), Speech::Tcp);
        assert_eq!(Speech::of_service(None, "web", 80), Speech::Unknown);
        assert_eq!(Speech::of_service(Some("example.com/own"), "http", 80), Speech::Unknown);
    }
}

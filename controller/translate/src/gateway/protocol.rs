//! What the protocol of a listener means: which fields it may have, which routes attach, what of it ends here.

use super::listener::{Judged, Refusal};
use crate::model::{ListenerModel, Transport};
use crate::problem::Problems;
use crate::syntax;
use sluice_crds::Kind;
use sluice_ir::{ListenerProtocol, Tls};

/// A protocol of our own (Gateway API ProtocolType: a domain's, a slash, a word).
pub(crate) const FORWARD_PROXY: &str = "sluice.dev/ForwardProxy";

/// The protocols that are served (Gateway API ProtocolType; TLS by its mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Https,
    TlsPassthrough,
    TlsTerminate,
    Tcp,
    Udp,
    ForwardProxy,
}

impl Protocol {
    /// The protocol of a listener; `None` for a word that is unknown.
    pub(crate) fn of(model: &ListenerModel) -> Option<Self> {
        match model.protocol.as_str() {
            "HTTP" => Some(Self::Http),
            "HTTPS" => Some(Self::Https),
            "TLS" if model.tls.as_ref().is_some_and(|it| it.is_passthrough) => Some(Self::TlsPassthrough),
            "TLS" => Some(Self::TlsTerminate),
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            FORWARD_PROXY => Some(Self::ForwardProxy),
            _ => None,
        }
    }

    /// The routes that can attach.
    pub(crate) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Http | Self::Https => &[Kind::HttpRoute, Kind::GrpcRoute],
            Self::TlsPassthrough | Self::TlsTerminate => &[Kind::TlsRoute],
            Self::Tcp => &[Kind::TcpRoute],
            Self::Udp => &[Kind::UdpRoute],
            // ServiceEntries say where it leads.
            Self::ForwardProxy => &[],
        }
    }

    /// Whether it needs certificates.
    pub(crate) fn ends_tls(self) -> bool {
        match self {
            Self::Https | Self::TlsTerminate => true,
            Self::Http | Self::TlsPassthrough | Self::Tcp | Self::Udp | Self::ForwardProxy => false,
        }
    }

    /// Whose ports it takes.
    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Udp => Transport::Udp,
            Self::Http
            | Self::Https
            | Self::TlsPassthrough
            | Self::TlsTerminate
            | Self::Tcp
            | Self::ForwardProxy => Transport::Tcp,
        }
    }

    /// In the IR; `None` while there is no certificate.
    pub(crate) fn to_ir(self, tls: Option<Tls>) -> Option<ListenerProtocol> {
        Some(match self {
            Self::Http => ListenerProtocol::Http,
            Self::Https => ListenerProtocol::Https(tls?),
            Self::TlsPassthrough => ListenerProtocol::TlsPassthrough,
            Self::TlsTerminate => ListenerProtocol::TlsTerminate(tls?),
            Self::Tcp => ListenerProtocol::Tcp,
            Self::Udp => ListenerProtocol::Udp,
            Self::ForwardProxy => ListenerProtocol::ForwardProxy,
        })
    }
}

/// Whether the listener's own values can be used. A hostname that can't be read is taken out.
pub(super) fn refusal(judged: &mut Judged<'_>, problems: &mut Problems) -> Option<Refusal> {
    let model = judged.model;
    let field = judged.field.clone();
    let mut refuse = |part: &str, reason: &'static str, message: String, next_step: &str| {
        problems.error(format!("{field}.{part}"), message.clone(), next_step);
        Some(Refusal { reason, message })
    };
    let Some(protocol) = judged.protocol else {
        let message = format!("protocol {:?} is unknown", model.protocol);
        let next_step = format!("use HTTP, HTTPS, TLS, TCP, UDP or {FORWARD_PROXY}");
        return refuse("protocol", "UnsupportedProtocol", message, &next_step);
    };
    if judged.port.is_none() {
        return refuse("port", "Invalid", format!("{} is no port", model.port), "use 1 to 65535");
    }
    if let Some(Err(message)) = model.hostname.as_deref().map(|it| syntax::hostname(it, true)) {
        judged.hostname = None;
        return refuse("hostname", "Invalid", message, "");
    }
    let name = &model.protocol;
    match (protocol, &model.tls) {
        (Protocol::Http, Some(_)) => {
            let message = "a listener of protocol HTTP can't have tls".to_owned();
            refuse("tls", "Invalid", message, "use HTTPS, or remove tls")
        }
        (Protocol::ForwardProxy, Some(_)) => {
            let message = format!("a listener of protocol {name} can't have tls");
            refuse("tls", "Invalid", message, "remove tls: clients have TLS of their own within")
        }
        (Protocol::ForwardProxy, None) if model.hostname.is_some() => {
            let message = format!("a listener of protocol {name} can't have a hostname");
            refuse("hostname", "Invalid", message, "remove it: ServiceEntries name the hosts")
        }
        (Protocol::Tcp | Protocol::Udp, Some(_)) => {
            let message = format!("a listener of protocol {name} can't have tls");
            refuse("tls", "Invalid", message, "use TLS, or remove tls")
        }
        (Protocol::Tcp | Protocol::Udp, None) if model.hostname.is_some() => {
            let message = format!("a listener of protocol {name} can't have a hostname");
            refuse("hostname", "Invalid", message, "use TLS, or remove the hostname")
        }
        (Protocol::Https, Some(tls)) if tls.is_passthrough => {
            let message = "mode Passthrough is not possible with protocol HTTPS".to_owned();
            refuse("tls.mode", "Invalid", message, "use mode Terminate, or protocol TLS")
        }
        (Protocol::TlsPassthrough | Protocol::TlsTerminate, None) => {
            let message = "a listener of protocol TLS needs tls.mode".to_owned();
            refuse("tls", "Invalid", message, "use mode Passthrough or Terminate")
        }
        (_, _) => None,
    }
}

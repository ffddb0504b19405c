//! Hears what happens to connections before a request reaches the engine: counts it, and writes refusals to the access
//! log of the port's Gateway, so that a client's 400 or 408 can be found there like any other answer.

use crate::listen::{ConnInfo, Observer, Refused};
use crate::snapshot::Runtime;
use crate::telemetry::access_log::record::Extra;
use crate::telemetry::mesh::{Call, MeshContext, RequestProtocol};
use crate::telemetry::{AccessLogger, AccessRecord, Metrics};
use arc_swap::ArcSwap;
use sluice_ir::AccessLog;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Counts and logs.
pub(crate) struct Watcher {
    pub(crate) runtime: Arc<ArcSwap<Runtime>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: AccessLogger,
}

impl Observer for Watcher {
    fn opened(&self, port: SocketAddr) {
        self.metrics.port(port).opened();
    }

    fn closed(&self, port: SocketAddr) {
        self.metrics.connection_closed(port);
    }

    fn refused(&self, refused: &Refused<'_>) {
        self.metrics.port(refused.port).refused(refused.outcome);
        tracing::debug!(peer = %refused.peer, outcome = refused.outcome.word(), reason = refused.reason, "refused");
        let runtime = self.runtime.load();
        let of_requests = runtime.ports.get(&refused.port);
        let of_requests = of_requests.map(|it| (&it.gateway, it.access_log(), it.telemetry.as_ref()));
        let of_streams = || {
            let port = runtime.streams.get(&refused.port)?;
            Some((&port.gateway, port.access_log(), port.telemetry.as_ref()))
        };
        let Some((gateway, form, telemetry)) = of_requests.or_else(of_streams) else { return };
        if let Some(mesh) = telemetry.and_then(|it| it.mesh.as_ref()) {
            mesh.refused(call(refused, mesh), refused.outcome);
        }
        let form = refused.outcome.logged(form);
        if form != AccessLog::Off {
            self.log.write(form, &record(refused, gateway.key.as_str()));
        }
    }

    fn tls_failed(&self, port: SocketAddr, peer: SocketAddr, reason: &str) {
        self.metrics.port(port).tls_failed();
        tracing::debug!(%peer, reason, "TLS handshake failed");
    }

    fn panicked(&self, port: SocketAddr) {
        self.metrics.panicked();
        tracing::error!(%port, "a connection's task panicked; the connection is closed");
    }
}

/// A refused request or connection in the words of a mesh.
fn call(refused: &Refused<'_>, mesh: &MeshContext) -> Call {
    let protocol = if refused.head.is_some() { RequestProtocol::Http } else { RequestProtocol::Tcp };
    let connection = refused.connection;
    let asked = connection.and_then(|it| it.tls.as_ref()?.server_name.as_deref());
    mesh.call(protocol, connection.and_then(ConnInfo::peer_identity), asked)
}

/// What is known of a refused request: no more than its unchecked first line.
fn record<'a>(refused: &Refused<'a>, gateway: &'a str) -> AccessRecord<'a> {
    let line = refused.head.and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target, protocol) = (words.next(), words.next(), words.next());
    // A tunnel's target is its host; without a request line it is a connection.
    let is_tunnel = method == Some("CONNECT");
    let (host, path) = if is_tunnel { (target, None) } else { (None, target) };
    let carried = if refused.tls && refused.head.is_none() { "TLS" } else { "" };
    AccessRecord {
        time: SystemTime::now(),
        gateway,
        listener: None,
        route: None,
        rule: None,
        method: method.unwrap_or_default(),
        host: host.unwrap_or_default(),
        path: path.unwrap_or_default(),
        protocol: protocol.unwrap_or(carried),
        status: refused.outcome.status().unwrap_or_default(),
        outcome: refused.outcome,
        reason: Some(refused.reason),
        request_bytes: 0,
        response_bytes: 0,
        duration: Duration::ZERO,
        upstream: None,
        upstream_duration: None,
        attempts: 0,
        client: refused.peer,
        client_subject: None,
        client_identity: None,
        port: None,
        server_name: refused.server_name,
        tls_version: None,
        user_agent: None,
        request_id: None,
        traceparent: None,
        extra: Extra::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::record;
    use crate::listen::Refused;
    use crate::telemetry::Outcome;
    use std::net::{Ipv4Addr, SocketAddr};

    #[test]
    fn a_refused_request_is_logged_with_what_its_first_line_says() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
        let refused = |head| Refused {
            port: peer,
            peer,
            tls: false,
            outcome: Outcome::BadRequest,
            reason: "two Host fields",
            server_name: None,
            head,
            connection: None,
        };
        let seen = record(&refused(Some(b"GET /a?b HTTP/1.1")), "edge/web");
        assert_eq!((seen.method, seen.path, seen.protocol, seen.status), ("GET", "/a?b", "HTTP/1.1", 400));
        let seen = record(&refused(Some(b"\xff\xfe")), "edge/web");
        assert_eq!((seen.method, seen.path, seen.protocol), ("", "", ""));
        assert_eq!(record(&refused(None), "edge/web").client, peer);
        assert_eq!(seen.reason, Some("two Host fields"));
        let seen = record(&refused(Some(b"CONNECT a.test:443 HTTP/1.1")), "edge/web");
        assert_eq!((seen.method, seen.host, seen.path), ("CONNECT", "a.test:443", ""));
        let of_tls = Refused { tls: true, server_name: Some("a.test"), ..refused(None) };
        let seen = record(&of_tls, "edge/web");
        assert_eq!((seen.protocol, seen.server_name), ("TLS", Some("a.test")));
    }
}

//! What stays of a connection or session: counters, and a line in the access log. Written when it is dropped, so that one
//! that was cut has its record too.

use super::observe::{self, Caller};
use super::relay::Counts;
use super::{StreamEngine, Way};
use crate::snapshot::BackendRuntime;
use crate::telemetry::access_log::record::Extra;
use crate::telemetry::{AccessRecord, Outcome, StreamMetrics};
use crate::upstream::Picked;
use sluice_ir as ir;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A stream that is being carried.
pub(super) struct Record {
    engine: Arc<StreamEngine>,
    way: Way,
    metrics: Arc<StreamMetrics>,
    started: Instant,
    client: SocketAddr,
    server_name: Option<String>,
    subject: Option<Box<str>>,
    tls_version: Option<&'static str>,
    caller: Caller,
    /// Port that the client wanted to go to, where it was captured.
    pub(super) port: Option<u16>,
    /// Where the client came to; known of connections.
    pub(super) local: Option<SocketAddr>,
    /// Where a tunnel leads; empty for what is no tunnel.
    host: Box<str>,
    /// What AuthorizationPolicies say, where that is worth telling.
    pub(super) judged: Option<String>,
    /// Endpoint of the last try.
    pub(super) endpoint: Option<SocketAddr>,
    /// How long the last try took to connect.
    pub(super) connecting: Option<Duration>,
    /// Tries to connect.
    pub(super) attempts: u32,
    /// What went through.
    pub(super) counts: Arc<Counts>,
    /// How it ended; until that is known it is being cut.
    outcome: Outcome,
}

/// Who speaks.
pub(super) struct Speaker {
    pub(super) address: SocketAddr,
    pub(super) server_name: Option<String>,
    /// Of the certificate that it showed.
    pub(super) subject: Option<Box<str>>,
    pub(super) tls_version: Option<&'static str>,
    pub(super) caller: Caller,
    /// Where a tunnel is to lead.
    pub(super) host: Box<str>,
}

impl Record {
    /// A stream that begins. Without a route it is counted among those of none.
    pub(super) fn begin(engine: &Arc<StreamEngine>, way: &Way, speaker: Speaker, started: Instant) -> Self {
        let metrics = match &way.route {
            Some(route) => route.metrics(&engine.metrics).clone(),
            None => engine.metrics.stream(way.port.gateway.key.as_str(), crate::telemetry::metrics::NONE),
        };
        metrics.opened();
        Self {
            engine: engine.clone(),
            way: way.clone(),
            counts: Arc::new(Counts::new(metrics.clone())),
            metrics,
            started,
            client: speaker.address,
            server_name: speaker.server_name,
            subject: speaker.subject,
            tls_version: speaker.tls_version,
            caller: speaker.caller,
            port: None,
            local: None,
            host: speaker.host,
            judged: None,
            endpoint: None,
            connecting: None,
            attempts: 0,
            outcome: Outcome::Cut,
        }
    }

    /// Who is carried.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// The name that the client's handshake asks for.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The name that a client asks for within a tunnel.
    pub(super) fn set_server_name(&mut self, name: Option<String>) {
        self.server_name = name;
    }

    /// It has reached an endpoint of a backend.
    pub(super) fn connected(&self, backend: &BackendRuntime, picked: &Picked) {
        if let Some(series) = observe::connected(&self.way, &self.caller, backend, picked) {
            series.opened();
            self.counts.count_for(series);
        }
    }

    /// The stream ended.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn note(&self) {
        let ended = observe::Ended {
            outcome: self.outcome,
            port: self.port.unwrap_or(self.way.listener.listener.port),
            server_name: self.server_name.as_deref(),
            endpoint: self.endpoint,
        };
        observe::seen(&self.way, &self.caller, &ended);
    }

    fn write(&self) {
        let origin = self.way.route.as_ref().map(|it| &it.route.origin);
        let form = self.outcome.logged_by(self.way.access_log(), origin);
        if form == ir::AccessLog::Off {
            return;
        }
        let (received, sent) = self.counts.bytes();
        let record = AccessRecord {
            time: SystemTime::now(),
            gateway: self.way.port.gateway.key.as_str(),
            listener: self.way.listener.listener.origin.section.as_deref(),
            route: self.way.route.is_some().then(|| self.metrics.name()),
            rule: None,
            method: if self.host.is_empty() { "" } else { "CONNECT" },
            host: &self.host,
            path: "",
            protocol: protocol(&self.way.listener.listener.protocol),
            status: 0,
            outcome: self.outcome,
            reason: self.judged.as_deref(),
            request_bytes: received,
            response_bytes: sent,
            duration: self.started.elapsed(),
            upstream: self.endpoint,
            upstream_duration: self.connecting,
            attempts: self.attempts,
            client: self.client,
            client_subject: self.subject.as_deref(),
            client_identity: self.caller.identity.as_deref(),
            port: Some(self.port.unwrap_or(self.way.listener.listener.port)),
            server_name: self.server_name.as_deref(),
            tls_version: self.tls_version,
            user_agent: None,
            request_id: None,
            traceparent: None,
            extra: self.extra(),
        };
        self.engine.log.write(form, &record);
    }

    fn extra(&self) -> Extra<'_> {
        let backend = self.way.route.as_ref().and_then(|route| route.backends.first()?.as_ref().ok());
        Extra { cluster: backend.map(|it| it.cluster().into()), local: self.local, ..Extra::default() }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.ended(self.outcome);
        match self.counts.series() {
            Some(series) => series.closed(),
            None => observe::failed(&self.way, &self.caller, self.outcome).iter().for_each(|series| {
                series.opened();
                series.closed();
            }),
        }
        self.note();
        self.write();
    }
}

fn protocol(listener: &ir::ListenerProtocol) -> &'static str {
    match listener {
        ir::ListenerProtocol::Udp => "UDP",
        ir::ListenerProtocol::TlsPassthrough | ir::ListenerProtocol::TlsTerminate(_) => "TLS",
        ir::ListenerProtocol::Http
        | ir::ListenerProtocol::Https(_)
        | ir::ListenerProtocol::Tcp
        | ir::ListenerProtocol::Detect => "TCP",
        ir::ListenerProtocol::ForwardProxy => "HTTP/1.1",
    }
}

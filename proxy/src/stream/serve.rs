//! One connection, from the route to its end.

use super::observe::Caller;
use super::record::{Record, Speaker};
use super::relay::{abort, relay, socket};
use super::{StreamEngine, Way, connect};
use crate::listen::{ClientSide, ConnInfo, Destination, Stream, StreamConnection, forward, peek_server_name};
use crate::telemetry::Outcome;
use async_trait::async_trait;
use sluice_ir::{Settings, StreamKind, StreamRoute};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

/// A connection whose way is chosen.
pub(super) struct Carrying {
    pub(super) engine: Arc<StreamEngine>,
    pub(super) way: Way,
    pub(super) ends_tls: bool,
    /// What a client of a forward proxy asked for.
    pub(super) tunnel: Option<Destination>,
}

#[async_trait]
impl Stream for Carrying {
    fn ends_tls(&self) -> bool {
        self.ends_tls
    }

    fn has_route(&self) -> bool {
        self.way.route.is_some()
    }

    async fn carry(self: Box<Self>, connection: StreamConnection) {
        let StreamConnection { client, info, server_name, started, slots: _slots } = connection;
        let tls_version = info.tls.as_ref().map(|tls| tls.version.trim_start_matches("TLSv"));
        let host = self.tunnel.as_ref().map(Destination::name).unwrap_or_default().into();
        let subject = info.client_certificate.as_ref().and_then(|it| it.subject()).map(Box::from);
        let identity = info.peer_identity().map(Box::from);
        let asked = info.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).map(Box::from);
        let caller = Caller { identity, server_name: asked };
        let speaker = Speaker { address: info.peer, server_name, subject, tls_version, caller, host };
        let mut record = Record::begin(&self.engine, &self.way, speaker, started);
        record.local = Some(info.local);
        record.port = info.captured.map(|it| it.original.port());
        let outcome = match self.forbidden(&info, &mut record) {
            true => self.refuse(client, Outcome::Forbidden).await,
            false => self.run_while_allowed(client, &info, &mut record).await,
        };
        record.end(outcome);
    }
}

impl Carrying {
    /// Carries until it ends, or until AuthorizationPolicies that have changed, or what its workload takes, forbid it.
    async fn run_while_allowed(&self, client: ClientSide, info: &ConnInfo, record: &mut Record) -> Outcome {
        let Way { port, listener, .. } = &self.way;
        let name = record.server_name().map(str::to_owned);
        let judged = tokio::select! {
            outcome = self.engine.refusal(info) => return outcome,
            outcome = self.run(client, info, record) => return outcome,
            judged = port.forbidden(info, name.as_deref(), listener) => judged,
        };
        record.judged = Some(judged.to_string());
        Outcome::Forbidden
    }

    /// Finds the endpoint and carries; how it ended.
    async fn run(&self, mut client: ClientSide, info: &ConnInfo, record: &mut Record) -> Outcome {
        let Some(route) = &self.way.route else { return self.refuse(client, Outcome::NoRoute).await };
        let backend = match route.next() {
            Ok(backend) => backend.clone(),
            Err(outcome) => return self.refuse(client, outcome).await,
        };
        let Some(_permit) = backend.permits.try_acquire() else {
            return self.refuse(client, Outcome::Overloaded).await;
        };
        // Nobody waits here: a connection is carried or refused.
        let slots = backend.circuit.as_ref().and_then(|it| it.slots());
        let slot = slots.map(|slots| slots.try_take());
        if matches!(slot, Some(None)) {
            return self.refuse(client, Outcome::Overflow).await;
        }
        // The client's own TLS goes on to the endpoint; through a proxy, with whom TLS may be spoken as well.
        let tls = match self.is_passed_through(route.route.kind) && backend.tunnel().is_none() {
            true => Ok(None),
            false => backend.client(&self.way.port.gateway),
        };
        let Ok(tls) = tls else { return self.refuse(client, Outcome::UpstreamTls).await };
        let asked = match connect::asked(&backend, self.said(record, info)).await {
            Ok(asked) => asked,
            Err(outcome) => return self.refuse(client, outcome).await,
        };
        let named = match (tls.filter(|it| it.is_template()), &asked) {
            (Some(template), Some(name)) => Some(name.client(template)),
            (Some(_), None) => return self.refuse(client, Outcome::UpstreamTls).await,
            (None, _) => tls.cloned(),
        };
        let to = connect::To {
            asked: asked.as_deref(),
            tls: named.as_ref(),
            captured: info.captured,
            source: info.source(),
        };
        let connected = connect::connect(&self.engine, &self.way, &backend, to, record).await;
        let (endpoint, picked) = match connected {
            Ok(connected) => connected,
            Err(outcome) => return self.refuse(client, outcome).await,
        };
        record.connected(&backend, &picked);
        if let Some(to) = &self.tunnel
            && let Err(outcome) = open(&mut client, to, &route.route, self.way.settings(), record).await
        {
            abort(socket(&client));
            return outcome;
        }
        let counts = record.counts.clone();
        let own = backend.connections().and_then(|it| it.silent_for);
        let idle = own.unwrap_or(self.way.settings().limits.stream_idle_timeout);
        let carried = relay(client, endpoint, &self.engine.pipes, &counts, idle);
        match backend.connections().and_then(|it| it.lives_for) {
            Some(life) => timeout(life, carried).await.unwrap_or(Outcome::Aged),
            None => carried.await,
        }
    }

    /// Whether AuthorizationPolicies forbid it; what they say is noted for the log.
    fn forbidden(&self, info: &ConnInfo, record: &mut Record) -> bool {
        let Way { port, listener, .. } = &self.way;
        let found = port.judge(info, record.server_name(), listener);
        let Some((authorization, judged)) = found else { return false };
        let metrics = &self.engine.metrics;
        authorization.count(&judged, || metrics.dry_run(port.gateway.key.as_str()));
        let is_forbidden = !judged.verdict.is_allowed();
        record.judged = judged.worth_telling().then(|| judged.to_string());
        is_forbidden
    }

    /// Whoever can't be carried is told so: by an answer who asked for a tunnel, by a reset anybody else.
    async fn refuse(&self, client: ClientSide, outcome: Outcome) -> Outcome {
        match client {
            ClientSide::Plain(mut client) if self.tunnel.is_some() => {
                let answer = forward::refusal(outcome, outcome.meaning());
                // A fresh socket's buffer takes the whole answer at once; an error means that the client is gone.
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
            }
            client => abort(socket(&client)),
        }
        outcome
    }

    /// What the client named.
    fn said<'a>(&'a self, record: &'a Record, info: &ConnInfo) -> connect::Said<'a> {
        let original = info.captured.map(|it| it.original);
        match &self.tunnel {
            Some(to) => connect::Said { host: Some(&to.host), port: to.port, may_be_address: true, original },
            None => connect::Said { host: record.server_name(), port: 0, may_be_address: false, original },
        }
    }

    /// Whether what comes is the client's own TLS, to go on as it is. In a tunnel it is where the destination's port is
    /// one of TLS.
    fn is_passed_through(&self, kind: StreamKind) -> bool {
        use sluice_ir::ListenerProtocol as P;
        match self.way.listener.listener.protocol {
            P::TlsPassthrough => true,
            P::ForwardProxy => kind == StreamKind::Tls,
            _ => false,
        }
    }
}

/// Tells the client that its tunnel is open. Where TLS is spoken within, its server name must be the tunnel's host: else
/// a host that may be reached would be the door to one that may not, behind the same addresses.
async fn open(
    client: &mut ClientSide,
    to: &Destination,
    route: &StreamRoute,
    settings: &Settings,
    record: &mut Record,
) -> Result<(), Outcome> {
    let ClientSide::Plain(client) = client else { return Err(Outcome::Internal) };
    client.write_all(forward::OPEN).await.map_err(|_| Outcome::ClientGone)?;
    if route.kind != StreamKind::Tls {
        return Ok(());
    }
    let looked = timeout(settings.limits.tls_handshake_timeout, peek_server_name(client)).await;
    let name = looked.map_err(|_| Outcome::ServerNameMismatch)?.map_err(|_| Outcome::ServerNameMismatch)?;
    let is_same = name.as_deref().is_some_and(|name| is_for(name, to, route));
    record.set_server_name(name);
    if is_same { Ok(()) } else { Err(Outcome::ServerNameMismatch) }
}

/// Whether a server name is what the tunnel is for: its host, or of an address one of the hosts that lead there.
fn is_for(name: &str, to: &Destination, route: &StreamRoute) -> bool {
    if to.host.parse::<IpAddr>().is_err() {
        return *name == *to.host;
    }
    let named = format!("{name}:{}", to.port);
    let mut hosts = route.attachments.iter().flat_map(|it| it.hostnames.iter());
    name.parse::<IpAddr>().is_err() && hosts.any(|host| host.matches(&named))
}

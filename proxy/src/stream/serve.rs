//! One connection, from the route to its end.

use super::record::{Record, Speaker};
use super::relay::{abort, relay, socket};
use super::{StreamEngine, Way, connect};
use crate::listen::{ClientSide, Stream, StreamConnection};
use crate::telemetry::Outcome;
use async_trait::async_trait;
use std::sync::Arc;

/// A connection whose way is chosen.
pub(super) struct Carrying {
    pub(super) engine: Arc<StreamEngine>,
    pub(super) way: Way,
    pub(super) ends_tls: bool,
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
        let speaker = Speaker { address: info.peer, server_name, tls_version };
        let mut record = Record::begin(&self.engine, &self.way, speaker, started);
        record.local = Some(info.local);
        let outcome = self.run(client, &mut record).await;
        record.end(outcome);
    }
}

impl Carrying {
    /// Finds the endpoint and carries; how it ended. Whoever can't be carried is told so by a reset.
    async fn run(&self, client: ClientSide, record: &mut Record) -> Outcome {
        let refuse = |outcome: Outcome| {
            abort(socket(&client));
            outcome
        };
        let Some(route) = &self.way.route else { return refuse(Outcome::NoRoute) };
        let backend = match route.next() {
            Ok(backend) => backend.clone(),
            Err(outcome) => return refuse(outcome),
        };
        let Some(_permit) = backend.permits.try_acquire() else { return refuse(Outcome::Overloaded) };
        // Nobody waits here: a connection is carried or refused.
        let slots = backend.circuit.as_ref().and_then(|it| it.slots());
        let slot = slots.map(|slots| slots.try_take());
        if matches!(slot, Some(None)) {
            return refuse(Outcome::Overflow);
        }
        let tls = match self.is_passed_through() {
            // The client's own TLS goes on to the endpoint.
            true => Ok(None),
            false => backend.client(&self.way.port.gateway),
        };
        let Ok(tls) = tls else { return refuse(Outcome::UpstreamTls) };
        let connected = connect::connect(&self.engine, &self.way, &backend, tls, record).await;
        let (endpoint, _picked) = match connected {
            Ok(connected) => connected,
            Err(outcome) => return refuse(outcome),
        };
        let counts = record.counts.clone();
        let own = backend.connections().and_then(|it| it.silent_for);
        let idle = own.unwrap_or(self.way.settings().limits.stream_idle_timeout);
        relay(client, endpoint, &self.engine.pipes, &counts, idle).await
    }

    fn is_passed_through(&self) -> bool {
        matches!(self.way.listener.listener.protocol, sluice_ir::ListenerProtocol::TlsPassthrough)
    }
}

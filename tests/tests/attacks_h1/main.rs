//! The HTTP/1 part of the attack matrix, against a real gateway with a backend that keeps every byte it received.
//!
//! After each attack the gateway must still serve, and nothing may have reached the backend that the route does not
//! allow: only paths under `/public` are routed, so a `/secret` at the backend was smuggled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chunks;
mod framing;
mod heads;
mod hops;
mod hosts;
mod limits;
mod responses;
mod upgrades;

use sluice_ir as ir;
use sluice_tests::{Answer, Ask, Received, Recorder, Reply, Stand, Wire, ir_samples};
use std::net::SocketAddr;

/// A gateway, and the backend behind `/public`.
struct Target {
    stand: Stand,
    backend: Recorder,
}

impl Target {
    async fn start() -> Self {
        Self::scripted(|request| Reply::ok(request.line())).await
    }

    async fn scripted(script: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(script, |_| {}).await
    }

    async fn with_settings(edit: impl FnOnce(&mut ir::Settings)) -> Self {
        Self::with(|request| Reply::ok(request.line()), edit).await
    }

    async fn with(
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        edit: impl FnOnce(&mut ir::Settings),
    ) -> Self {
        let backend = Recorder::scripted(script).await;
        let stand = Stand::of_snapshot(snapshot(backend.address(), edit)).await;
        Self { stand, backend }
    }

    async fn wire(&self) -> Wire {
        Wire::connect(self.stand.address(80)).await
    }

    /// Sends bytes on a connection of their own. The first answer must have this status and end the connection; then
    /// nothing may have been smuggled, and the gateway must still serve.
    async fn refuses(&self, what: &str, bytes: impl AsRef<[u8]>, status: u16) -> Answer {
        let mut wire = self.wire().await;
        wire.send(bytes).await;
        let answer = wire.read(false).await.unwrap_or_else(|ended| panic!("{what}: {ended:?}"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.closes(), "{what}: the connection goes on: {answer:?}");
        let rest = wire.rest().await;
        assert!(rest.is_empty(), "{what}: more than one answer: {:?}", String::from_utf8_lossy(&rest));
        self.unharmed(what).await;
        answer
    }

    /// Nothing was smuggled, and a normal request is answered.
    async fn unharmed(&self, what: &str) {
        let answer =
            Wire::connect(self.stand.address(80)).await.ask(&Ask::get("http://a.example/public/after")).await;
        assert_eq!(answer.status, 200, "{what}: no normal service after it: {answer:?}");
        assert_eq!(answer.text(), "GET /public/after HTTP/1.1", "{what}");
        let smuggled: Vec<_> =
            self.backend.lines().into_iter().filter(|line| !line.contains(" /public")).collect();
        assert!(smuggled.is_empty(), "{what}: smuggled {smuggled:?}");
    }
}

/// Only `/public` is routed.
fn snapshot(backend: SocketAddr, edit: impl FnOnce(&mut ir::Settings)) -> ir::Snapshot {
    let mut snapshot = ir_samples::with_settings(ir_samples::everything_to(backend), edit);
    let public = ir::Match { path: ir::PathMatch::Prefix("/public".into()), ..ir::Match::default() };
    let route = ir_samples::route("all", vec![ir_samples::rule(0, public, "main")]);
    snapshot.routes.insert(route.key.clone(), route);
    snapshot
}

/// What every smuggling attempt wants the backend to read.
const SECRET: &str = "GET /secret HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// A POST with these fields (each with its line end) and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /public HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n{body}")
}

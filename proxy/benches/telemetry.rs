//! What telemetry costs a request, in instructions: counted by Valgrind, so that a busy machine does not move them.
//!
//! `cargo bench -p sluice-proxy --bench telemetry`. The log's writer thread is counted in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod callgrind;

use callgrind::Case;
use sluice_ir::AccessLog;
use sluice_proxy::telemetry::access_log::record::Extra;
use sluice_proxy::telemetry::mesh::{
    Call, Direction, Ended, Mesh, OwnWorkload, RequestProtocol, Security, ServiceName,
};
use sluice_proxy::telemetry::{AccessLogger, AccessRecord, Metrics, Outcome};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Below a block, so that the writer's rhythm does not depend on the scheduler; flushed as one block would be.
const FLUSH_EVERY: u64 = 100;

const CASES: [Case; 7] = [
    ("route_finished", route_finished),
    ("request_in_flight", request_in_flight),
    ("mesh_call", mesh_call),
    ("access_log_json", |rounds| access_log(AccessLog::Json, rounds)),
    ("access_log_istio_json", |rounds| access_log(AccessLog::IstioJson, rounds)),
    ("access_log_text", |rounds| access_log(AccessLog::Text, rounds)),
    ("access_log_off", |rounds| access_log(AccessLog::Off, rounds)),
];

fn route_finished(rounds: u64) {
    let route = Metrics::new().route("edge/web", "HTTPRoute shop/cart");
    for round in 0..rounds {
        let duration = Duration::from_micros(black_box(round % 1_000));
        route.finished(Outcome::Served, black_box(200), duration, 12, 3_456);
    }
}

fn request_in_flight(rounds: u64) {
    let metrics = Metrics::new();
    for _ in 0..rounds {
        black_box(&metrics).request_started();
        black_box(&metrics).request_ended();
    }
}

/// A request of a workload: its series is found, then counted.
fn mesh_call(rounds: u64) {
    let own = |name: &str| OwnWorkload::new("shop", name, name, Some(name), BTreeMap::new());
    let mesh = Mesh::new(own("web"));
    let call = Call {
        direction: Direction::Outbound,
        peer: mesh.party_of(&own("reviews").workload),
        service: Arc::new(ServiceName::of("shop", "reviews")),
        security: Security::MutualTls,
        protocol: RequestProtocol::Http,
        code: 200,
        grpc_status: None,
        flags: "-",
        is_overflow: false,
    };
    let now = Instant::now();
    for round in 0..rounds {
        let duration = Duration::from_micros(black_box(round % 1_000));
        let ended = Ended { duration, request_bytes: 12, response_bytes: 3_456, ..Ended::default() };
        mesh.series(black_box(&call), now).ended(&ended);
    }
}

fn access_log(format: AccessLog, rounds: u64) {
    let log = AccessLogger::to_writer(Box::new(std::io::sink()));
    let record = AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_397_715_123),
        gateway: "edge/web",
        listener: Some("https"),
        route: Some("HTTPRoute shop/cart"),
        rule: None,
        method: "GET",
        host: "shop.example.com",
        path: "/api/v1/carts/1234567890/items",
        protocol: "HTTP/2",
        status: 200,
        outcome: Outcome::Served,
        reason: None,
        request_bytes: 0,
        response_bytes: 3_456,
        duration: Duration::from_micros(1_234),
        upstream: Some(([10, 1, 2, 3], 8_080).into()),
        upstream_duration: Some(Duration::from_micros(900)),
        attempts: 1,
        client: ([192, 0, 2, 7], 40_000).into(),
        client_subject: None,
        client_identity: None,
        port: None,
        server_name: Some("shop.example.com"),
        tls_version: Some("1.3"),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        request_id: Some(b"0f3c9f7e-5f0d-4d5e-8f0c-2c3c9a6f1d11"),
        traceparent: Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        extra: Extra {
            cluster: Some("outbound|8080||cart.shop.svc.cluster.local".into()),
            local: Some(([10, 1, 0, 1], 443).into()),
            upstream_local: Some(([10, 1, 0, 1], 41_000).into()),
            forwarded_for: Some(b"192.0.2.7"),
            is_last_try: false,
            code_details: None,
        },
    };
    for round in 1..=rounds {
        log.write(format, black_box(&record));
        if round % FLUSH_EVERY == 0 {
            log.flush();
        }
    }
    assert_eq!(log.counts().dropped(), 0);
}

fn main() {
    callgrind::count(&CASES);
}

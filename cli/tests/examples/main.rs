//! Every example runs as its README says and gives the answers of its `requests.yaml`: the real program serves the
//! folder, the real `sluice echo` stands behind it on the ports that the manifests name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod client;
mod compressed;
mod proxied;
mod redis;
mod special;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use cases::{Case, Cases};
use client::Client;
use redis::Redis;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use support::{Program, examples, free_offset};

/// Runs one example.
async fn example(name: &str) {
    let folder = examples().join(name);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_sluice")).args(["check", "--strict"]).arg(&folder).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let cases = Cases::read(&folder.join("requests.yaml"));
    let mut backends = start_backends(&cases);
    let _redis = cases.redis.as_deref().map(Redis::start);
    let ports: BTreeSet<_> = cases.requests.iter().map(Case::target).collect();
    let offset = free_offset(&ports.into_iter().collect::<Vec<_>>());
    let arguments: Vec<_> = cases.run.iter().map(String::as_str).collect();
    let gateway = Program::run_with(&folder, offset, &arguments);
    let client = Client::new(offset, &folder, cases.authority.as_deref());
    for case in &cases.requests {
        if let Some(backend) = &case.stop {
            assert!(backends.remove(backend).is_some(), "{backend} is not there");
        }
        if let Some(backend) = &case.start {
            backends.insert(backend.clone(), Program::echo(std::slice::from_ref(backend)));
        }
        if let Err(wrong) = special::run(&client, case).await {
            panic!("{name}: {}: {wrong}\ngateway: {}", case.name, gateway.told());
        }
    }
}

/// All backends in one process, or each in its own where some are ended.
fn start_backends(cases: &Cases) -> BTreeMap<String, Program> {
    if cases.requests.iter().all(|it| it.stop.is_none()) {
        return BTreeMap::from([(String::new(), Program::echo(&cases.echo))]);
    }
    cases.echo.iter().map(|it| (it.clone(), Program::echo(std::slice::from_ref(it)))).collect()
}

/// Need a cluster: tested there.
const IN_A_CLUSTER: [&str; 2] = ["kubernetes-hello", "mesh-bookshop"];

macro_rules! examples {
    ($($function:ident: $folder:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $function() {
                example($folder).await;
            }
        )+

        #[test]
        fn every_folder_is_tested() {
            let tested = BTreeSet::from([$($folder.to_owned()),+]);
            let folders = std::fs::read_dir(examples()).unwrap().map(Result::unwrap);
            let folders = folders.filter(|it| it.path().is_dir());
            let folders = folders.map(|it| it.file_name().into_string().unwrap());
            let folders: BTreeSet<_> = folders.filter(|it| !IN_A_CLUSTER.contains(&it.as_str())).collect();
            assert_eq!(tested, folders);
        }
    };
}

examples! {
    hello: "hello",
    routing: "routing",
    canary: "canary",
    canary_and_mirror: "canary-and-mirror",
    mirror: "mirror",
    redirect_and_rewrite: "redirect-and-rewrite",
    cors: "cors",
    retries_and_timeouts: "retries-and-timeouts",
    grpc: "grpc",
    websocket: "websocket",
    session_persistence: "session-persistence",
    many_gateways: "many-gateways",
    circuit_breaking: "circuit-breaking",
    failover: "failover",
    health_checks: "health-checks",
    compression: "compression",
    limits: "limits",
    external_auth: "external-auth",
    rate_limits: "rate-limits",
    request_authentication: "request-authentication",
    custom_domains: "custom-domains",
    client_certificates: "client-certificates",
    many_tenants: "many-tenants",
    tls_passthrough: "tls-passthrough",
    egress_control: "egress-control",
    egress_tls_origination: "egress-tls-origination",
    tcp_and_udp: "tcp-and-udp",
    acme_standalone: "acme-standalone",
    authorization: "authorization",
}

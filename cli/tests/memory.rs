//! What one more simple route may cost in memory: one host, one prefix, one Hostname backend, in a file of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use allocation_counter::measure;
use sluice::project::Project;
use sluice_ir::Snapshot;
use sluice_proxy::snapshot::{BindPlan, Compiled, Compiler};
use sluice_proxy::telemetry::Metrics;
use sluice_proxy::upstream::{Resolver, Upstreams};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// IR, compiled rules and counters: what a data plane keeps.
const DATA_PLANE_BYTES: i64 = 1_024;
/// The same with the files, the models and the statuses of `sluice run`. The allocator rounds up: a tenth more is
/// resident, and the goal is 2 KiB of resident memory.
const PROCESS_BYTES: i64 = 1_600;

/// Two folders whose difference is [`MORE`] routes: what does not grow with routes falls out.
const FEW: usize = 400;
const MORE: usize = 1_200;

const COMMON: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: backend}
spec:
  hosts: [backend.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 13000}}]
";

fn write(folder: &Path, routes: usize) {
    fs::write(folder.join("common.yaml"), COMMON).unwrap();
    for index in 0..routes {
        let text = format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route-{index}}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [host-{index}.example.com]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /app-{index}}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: backend.local, port: 80}}]
"
        );
        fs::write(folder.join(format!("route-{index}.yaml")), text).unwrap();
    }
}

fn compile(project: &Project) -> (Compiler, Compiled) {
    let plan = BindPlan {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port_offset: 0,
        cluster_ports: false,
        is_captured: false,
    };
    let mut compiler = Compiler::new(plan, Upstreams::new(Resolver::system()), Metrics::new());
    let compiled = compiler.apply(&Snapshot::default().delta_to(project.snapshot()));
    (compiler, compiled)
}

/// Bytes on the heap: of the data plane alone, and of the process.
fn bytes(routes: usize) -> (i64, i64) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), routes);
    let mut kept = None;
    let whole = measure(|| {
        let (project, _) = Project::load(folder.path(), "default").unwrap();
        let data_plane = compile(&project);
        assert_eq!(data_plane.0.snapshot().routes.len(), routes);
        kept = Some((project, data_plane));
    });
    let (project, data_plane) = kept.unwrap();
    let without = measure(|| drop(project));
    drop(data_plane);
    (whole.bytes_current + without.bytes_current, whole.bytes_current)
}

#[test]
fn one_more_route_stays_within_its_bytes() {
    // The first reader of a thread makes room for things that stay.
    bytes(1);
    let (few, many) = (bytes(FEW), bytes(FEW + MORE));
    let each = |few: i64, many: i64| (many - few) / i64::try_from(MORE).unwrap();
    let (data_plane, process) = (each(few.0, many.0), each(few.1, many.1));
    println!("bytes of one more route: data plane {data_plane}, process {process}");
    assert!(data_plane <= DATA_PLANE_BYTES, "data plane: {data_plane} bytes for a route");
    assert!(process <= PROCESS_BYTES, "process: {process} bytes for a route");
}

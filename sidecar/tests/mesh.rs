//! Two pods, each with a workload, rules of capture and a sidecar: the whole way of a call through a real kernel.
//!
//! The sidecars are processes of the proxy's user, whose connections are not captured; their configuration is given to them
//! here, in place of a controller. Needs what `capture.rs` needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

#[allow(dead_code)]
#[path = "../../proxy/tests/mesh/pki.rs"]
mod pki;
#[allow(dead_code)]
#[path = "../../proxy/tests/mesh/sidecar.rs"]
mod sidecar;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sidecar::{Service, strict, workloads};
use sluice_ir::{self as ir, ListenerProtocol, Resource};
use sluice_proxy::identity::Identity;
use sluice_proxy::listen::original_destination;
use sluice_proxy::mesh::{Mesh, MeshOptions, MeshSettings, WAIT};
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use sluice_xds::svid::Roots;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use world::{APP, PROXY, World};

/// Where a sidecar finds who it is; set in its process alone.
const FOLDER: &str = "SLUICE_TEST_SIDECAR";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Destinations of the pod `web`.
fn services() -> Vec<Resource> {
    let to = |name, vip, endpoint, account| Service {
        name,
        account: Some(account),
        ..Service::new(vip, ListenerProtocol::Http, address(endpoint))
    };
    let all = [
        to("cart", "10.96.0.1", "10.9.9.9:8080", "cart"),
        to("cart6", "fd00:96::1", "[fd00:9::9]:8080", "cart"),
        to("web", "10.96.0.2", "10.9.9.1:8080", "web"),
        to("impostor", "10.96.0.3", "10.9.9.9:8080", "somebody-else"),
    ];
    all.iter().flat_map(Service::resources).collect()
}

/// What each process of a sidecar does; a test only in name.
#[test]
#[ignore = "the process of a sidecar, which the tests start"]
fn process_of_a_sidecar() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    let (chain, key, roots) = (read("chain.pem"), read("key.pem"), read("roots.pem"));
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(&key).expect("a key");
    let roots = Arc::new(Roots::from_pem(&roots).expect("roots"));
    let identity = Identity::new(chain, key, roots, SystemTime::now()).expect("an identity");
    let is_web = identity.id.service_account() == "web";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async move {
        let (_sender, identity) = tokio::sync::watch::channel(Some(Arc::new(identity)));
        let mesh = MeshSettings {
            namespace: "shop".to_owned(),
            labels: BTreeMap::new(),
            detection: Duration::from_millis(200),
        };
        let options = ProxyOptions {
            plan: BindPlan::captured(),
            log: AccessLogger::to_writer(Box::new(std::io::sink())),
            resolver: Resolver::system(),
            identity: Some(identity),
            mesh: Some(mesh),
        };
        let proxy = Proxy::new(options).expect("a proxy");
        let mut governs = workloads();
        strict(&mut governs);
        let mut upserts = vec![Resource::Workloads(Arc::new(governs))];
        upserts.extend(is_web.then(services).unwrap_or_default());
        assert!(proxy.apply(&ir::Delta { upserts, removals: Vec::new() }).await.is_empty());
        let options = MeshOptions {
            outbound: vec![address("127.0.0.1:15001"), address("[::1]:15001")],
            inbound: vec![address("0.0.0.0:15006"), address("[::]:15006")],
            original: Arc::new(original_destination),
            destinations: Arc::new(()),
            wait: WAIT,
        };
        let _mesh = Mesh::start(&proxy, options).await.expect("ports");
        std::future::pending::<()>().await;
    });
}

/// Both pods, with everything but what a test is about.
fn pods(test: impl FnOnce(&World) + Send + 'static) {
    World::run(move |world| {
        let ca = pki::Ca::new("root");
        for name in ["web", "cart"] {
            let (chain, key, roots) = ca.issue_pem(name);
            world.write(name, &[("chain.pem", &chain), ("key.pem", &key), ("roots.pem", &roots)]);
        }
        world.shell("ip route add 10.96.0.0/16 via 10.9.9.9 && ip -6 route add fd00:96::/64 via fd00:9::9");
        for (here, there) in [("0.0.0.0:8080", "0.0.0.0:8080"), ("[::]:8080", "[::]:8080")] {
            world.serve(here, "web");
            world.serve_at_peer(there, "cart");
        }
        world.serve_at_peer("0.0.0.0:9100", "plain");
        world.capture("apply --ipv6 true");
        world.capture_at_peer("apply --ipv6 true -d 9100");
        let start = ["--ignored", "--exact", "process_of_a_sidecar", "--nocapture"];
        let _sidecars = [
            world.own_program(PROXY, (FOLDER, "web"), &start),
            world.own_program_at_peer(PROXY, (FOLDER, "cart"), &start),
        ];
        test(&world);
    });
}

#[test]
fn a_call_goes_from_workload_to_workload_in_the_tls_of_the_mesh() {
    pods(|world| {
        assert_eq!(world.call(APP, "10.96.0.1:80"), "cart");
        assert_eq!(world.call(APP, "[fd00:96::1]:80"), "cart", "by IPv6");
        assert_eq!(world.call(APP, "10.96.0.2:80"), "web", "the workload by its own service");
        let refused = world.call(APP, "10.96.0.3:80");
        assert_eq!(refused, "upstream_tls", "whoever is there is not who should be");
        let refused = world.call(PROXY, "10.9.9.9:8080");
        assert!(refused.contains("curl: (5"), "in the clear, to a workload that is STRICT: {refused}");
        assert_eq!(
            world.call_from_peer("10.9.9.1:8080"),
            "upstream_reset",
            "by a sidecar that knows no such service"
        );
        assert_eq!(world.call(APP, "10.9.9.9:9100"), "plain", "what the mesh does not know passes");
        let loops = world.call(APP, "10.9.9.1:15006");
        assert!(loops.contains("curl: (5"), "a port of the sidecar itself: {loops}");
        assert_eq!(world.call(APP, "10.9.9.1:8080"), "web", "its own address is its own affair");
    });
}

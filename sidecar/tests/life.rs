//! The real program beside a workload: readiness, names through the capture, orders and signals, its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::time::{Duration, Instant};
use world::{APP, PROXY, World};

#[test]
fn it_is_not_ready_before_it_has_a_configuration_and_says_why() {
    World::run(|world| {
        let sidecar = world.sidecar(&[]);
        sidecar.answers("127.0.0.1:15021");
        assert_eq!(world.call(APP, "127.0.0.1:15021/healthz/ready"), "not ready: no configuration yet");
        let (status, said) = world.order("wait --timeout 300ms");
        assert!(!status && said.contains("not ready: no configuration yet"), "{said}");
        assert!(world.call_from_peer("10.9.9.1:15020/stats/prometheus").ends_with("# EOF"));
        assert!(world.call_from_peer("[fd00:9::1]:15021/healthz/ready").starts_with("not ready"));
        assert!(world.call_from_peer("10.9.9.1:15000/metrics").contains("Failed to connect"));
    });
}

#[test]
fn names_are_asked_of_the_pods_servers_through_the_capture() {
    World::run(|world| {
        world.name_server_at_peer("10.9.9.9", "who.test", "192.0.2.1");
        for backend in ["nft", "iptables-legacy"] {
            world.capture(&format!("apply --backend {backend}"));
            let sidecar = world.sidecar(&[]);
            sidecar.answers("127.0.0.1:15053");
            for option in ["", "+tcp"] {
                assert_eq!(world.ask(APP, "10.9.9.9", "who.test", option), "192.0.2.1", "{backend} {option}");
            }
            drop(sidecar);
            assert_ne!(world.ask(APP, "10.9.9.9", "who.test", ""), "192.0.2.1", "it was the sidecar");
            assert_eq!(world.ask(PROXY, "10.9.9.9", "who.test", ""), "192.0.2.1");
        }
    });
}

#[test]
fn a_drain_is_announced_and_an_order_or_a_signal_ends_it_soon() {
    World::run(|world| {
        for by in ["quit", "SIGTERM"] {
            let mut sidecar = world.sidecar(&[]);
            sidecar.answers("127.0.0.1:15021");
            let (status, said) = world.order("drain");
            assert!(status, "{said}");
            assert_eq!(world.call(APP, "127.0.0.1:15021/healthz/ready"), "not ready: draining");
            assert!(sidecar.is_running(), "it goes on until it is told to end");
            let started = Instant::now();
            match by {
                "quit" => assert!(world.order("quit").0),
                _ => sidecar.terminate(),
            }
            assert_eq!(sidecar.ended(), Some(0), "{by}");
            // Nobody has a connection: a moment of quiet is enough.
            assert!(started.elapsed() < Duration::from_secs(4), "{by}: {:?}", started.elapsed());
        }
    });
}

#[test]
fn probes_reach_a_captured_workload() {
    World::run(|world| {
        world.serve("10.9.9.1:8080", "app");
        world.capture("apply");
        let probes = r#"{"/app-health/web/livez":{"httpGet":{"port":8080}},"/app-health/web/readyz":{"tcpSocket":{"port":8081}}}"#;
        let sidecar = world.sidecar(&["--app-probes", probes]);
        sidecar.answers("127.0.0.1:15020");
        let path = |probe: &str| format!("10.9.9.1:15020/app-health/web/{probe}");
        assert_eq!(world.call_from_peer(&path("livez")), "the workload says 200");
        assert_eq!(world.call_from_peer(&path("readyz")), "the workload says 500");
    });
}

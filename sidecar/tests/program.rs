//! The real program with a controller, between a workload and its peers: ready, passed through, governed, ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::thread;
use std::time::{Duration, Instant};
use world::{APP, Controller, World, eventually};

fn workload(world: &World) {
    world.serve("0.0.0.0:8080", "app");
    world.serve("[::]:8080", "app");
    world.serve_at_peer("10.9.9.9:80", "peer");
    world.serve_at_peer("[fd00:9::9]:80", "peer");
}

#[test]
fn a_workload_calls_and_is_called_as_without_a_sidecar() {
    World::run(|world| {
        workload(&world);
        let controller = Controller::start();
        world.capture("apply --ipv6 true");
        let _sidecar = world.sidecar_of(&controller, &[]);
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer", "a destination that the mesh does not know");
        assert_eq!(world.call(APP, "[fd00:9::9]:80"), "peer");
        assert_eq!(world.call_from_peer("10.9.9.1:8080"), "app");
        assert_eq!(world.call_from_peer("[fd00:9::1]:8080"), "app");
        assert_eq!(
            world.call_from_peer("10.9.9.1:8080/from"),
            "app 127.0.0.6",
            "the sidecar calls the workload"
        );
        assert_eq!(world.call_from_peer("[fd00:9::1]:8080/from"), "app ::6");
        assert_eq!(world.call(APP, "10.9.9.9:80/from"), "peer 10.9.9.1", "and the peer");
    });
}

#[test]
fn what_governs_the_workload_holds_at_once() {
    World::run(|world| {
        workload(&world);
        let controller = Controller::start();
        world.capture("apply");
        let _sidecar = world.sidecar_of(&controller, &[]);
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer");
        controller.govern(serde_json::json!({"outbound": "registryOnly"}));
        eventually(&mut || world.call(APP, "10.9.9.9:80") != "peer", &mut || {
            "it is passed through".to_owned()
        });
        let strict = serde_json::json!({
            "origin": {"kind": "PeerAuthentication", "namespace": "shop", "name": "strict"}, "mode": "strict",
        });
        assert_eq!(world.call_from_peer("10.9.9.1:8080"), "app", "in the clear");
        controller.govern(serde_json::json!({"mutual_tls": [strict]}));
        eventually(&mut || world.call_from_peer("10.9.9.1:8080") != "app", &mut || "it is taken".to_owned());
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer", "what goes out is as it was");
        controller.govern(serde_json::json!({}));
        eventually(&mut || world.call_from_peer("10.9.9.1:8080") == "app", &mut || {
            world.call_from_peer("10.9.9.1:8080")
        });
    });
}

#[test]
fn no_request_is_lost_while_it_ends() {
    World::run(|world| {
        workload(&world);
        let controller = Controller::start();
        world.capture("apply");
        let mut sidecar = world.sidecar_of(&controller, &[]);
        thread::scope(|scope| {
            let out = scope.spawn(|| world.call(APP, "10.9.9.9:80/slow"));
            let within = scope.spawn(|| world.call_from_peer("10.9.9.1:8080/slow"));
            thread::sleep(Duration::from_millis(300));
            let started = Instant::now();
            sidecar.terminate();
            // While others are served, who comes is, too.
            while started.elapsed() < Duration::from_secs(1) {
                assert_eq!(world.call(APP, "10.9.9.9:80"), "peer");
            }
            assert_eq!(world.call(APP, "127.0.0.1:15021/healthz/ready"), "not ready: draining");
            assert_eq!(out.join().unwrap(), "peer");
            assert_eq!(within.join().unwrap(), "app");
            assert_eq!(sidecar.ended(), Some(0));
            assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        });
    });
}

/// Prints what it takes: `--nocapture` shows it. The figure that counts is of a release build (docs/performance.md).
#[test]
fn memory_at_rest() {
    World::run(|world| {
        workload(&world);
        let controller = Controller::start();
        world.capture("apply");
        let sidecar = world.sidecar_of(&controller, &[]);
        for _ in 0..20 {
            assert_eq!(world.call(APP, "10.9.9.9:80"), "peer");
            assert_eq!(world.call_from_peer("10.9.9.1:8080"), "app");
        }
        let (all, own) = (sidecar.memory("VmRSS"), sidecar.memory("RssAnon"));
        println!("sidecar at rest: {all} KiB resident, {own} KiB of it its own");
        assert!(own < 20 * 1024, "{own} KiB");
    });
}

//! The real `sluice-gateway`: ready when it has a whole configuration and not before, from the disk when the
//! controller is away, and ended by a signal without a lost request.

use crate::controller::{Controller, Trust};
use crate::world::{self, listener_key};
use sluice_ir as ir;
use sluice_tests::backends::Backends;
use sluice_tests::load::Load;
use sluice_tests::{Ask, Wire, binary, eventually, loopback, readiness, soon};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

const ADMIN: u16 = 15_000;

struct Scene {
    trust: Trust,
    backends: Backends,
    bind: IpAddr,
}

impl Scene {
    fn new() -> Self {
        Self { trust: Trust::new(), backends: Backends::default(), bind: loopback() }
    }

    async fn snapshot(&mut self) -> ir::Snapshot {
        let backend = self.backends.start("app".to_owned()).await;
        let listener = listener_key("shop/web", "http");
        let mut all = vec![
            ir::Resource::Gateway(world::gateway("shop/web")),
            ir::Resource::Listener(world::http("shop/web", "http", 80)),
            ir::Resource::Route(world::route("shop/app", &[listener], &["shop/app"], 1)),
        ];
        all.extend(world::service("shop/app", backend));
        world::with(ir::Snapshot::default(), all)
    }

    fn snapshots(&self) -> PathBuf {
        self.trust.folder().join("snapshots")
    }

    fn gateway(&self, controller: SocketAddr) -> Child {
        let options = self.trust.options(controller, "shop/web");
        let program = binary().with_file_name("sluice-gateway");
        assert!(program.exists(), "{} is missing; run `cargo build -p sluice-gateway`", program.display());
        let mut command = Command::new(program);
        command
            .args([
                "--controller",
                &options.controller.to_string(),
                "--gateway",
                "shop/web",
                "--node",
                "web-0",
            ])
            .args(["--controller-name", crate::controller::NAME, "--cluster-ports"])
            .args(["--bind", &self.bind.to_string(), "--admin", &format!("{}:{ADMIN}", self.bind)])
            .args(["--drain-delay", "200ms", "--drain-deadline", "5s"])
            .arg("--token-file")
            .arg(options.token_file)
            .arg("--ca-file")
            .arg(options.ca_file)
            .arg("--snapshot-dir")
            .arg(self.snapshots());
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn().expect("it starts")
    }

    fn served(&self) -> SocketAddr {
        SocketAddr::new(self.bind, 10_080)
    }

    async fn ready(&self) -> Option<u16> {
        readiness(SocketAddr::new(self.bind, ADMIN)).await
    }

    async fn status(&self) -> u16 {
        Wire::connect(self.served()).await.ask(&Ask::get("http://a.example/")).await.status
    }
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("a running process").to_string();
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().await;
    assert!(sent.is_ok_and(|status| status.success()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_from_the_disk_within_a_second_while_the_controller_is_away() {
    let mut scene = Scene::new();
    let snapshot = scene.snapshot().await;
    let controller = Controller::start(&scene.trust, &snapshot).await;
    let address = controller.address;
    let mut first = scene.gateway(address);
    eventually("it is ready", || async { scene.ready().await == Some(200) }).await;
    assert_eq!(scene.status().await, 200);
    let file = scene.snapshots().join("snapshot");
    eventually("its configuration rests on the disk", || async { file.exists() }).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(controller);
    signal(&first, "KILL").await;
    soon("its end", first.wait()).await.unwrap();
    let started = Instant::now();
    let mut second = scene.gateway(address);
    eventually("it is ready again", || async { scene.ready().await == Some(200) }).await;
    assert_eq!(scene.status().await, 200);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    println!("ready from the disk after {took:?}");
    // A signal ends it without a lost request.
    let load = Load::start(scene.served(), 2, Ask::get("http://a.example/").to_http1(), |_| Ok(()));
    load.more(50).await;
    signal(&second, "TERM").await;
    eventually("it asks for no more traffic", || async { scene.ready().await == Some(503) }).await;
    load.more(10).await;
    let account = load.ended().await;
    account.expect_all_200();
    assert_eq!(soon("its end", second.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_not_ready_before_it_has_a_whole_configuration() {
    let mut scene = Scene::new();
    let snapshot = scene.snapshot().await;
    let controller = Controller::at(&scene.trust, "127.0.0.1:0".parse().unwrap()).await;
    controller.publish(&ir::Snapshot::default(), &snapshot);
    let _gateway = scene.gateway(controller.address);
    let key = ir::GatewayKey::new("shop/web");
    eventually("it is connected", || async { controller.distributor.sync(&key).connected == 1 }).await;
    assert_eq!(scene.ready().await, Some(503));
    controller.distributor.set_complete();
    eventually("it is ready", || async { scene.ready().await == Some(200) }).await;
    assert_eq!(scene.status().await, 200);
    eventually("its Gateway is programmed", || async { controller.distributor.sync(&key).programmed }).await;
}

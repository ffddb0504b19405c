//! The controller dies a hundred times while requests come in: none fails, and what it says next is served.

use crate::controller::{Controller, Trust};
use crate::world::{self, listener_key};
use sluice_gateway::{Gateway, GatewayOptions};
use sluice_ir as ir;
use sluice_proxy::sync::SyncClient;
use sluice_tests::backends::Backends;
use sluice_tests::load::Load;
use sluice_tests::{Ask, PORT_OFFSET, Wire, eventually, loopback, soon};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

const KILLS: u32 = 100;

/// A controller in a runtime of its own, so that it can die at any point, without a word.
struct Mortal {
    controller: Controller,
    runtime: Runtime,
}

impl Mortal {
    fn start(trust: &Trust, address: SocketAddr, snapshot: &ir::Snapshot) -> Self {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let controller = runtime.block_on(async {
                    let controller = Controller::at(trust, address).await;
                    controller.publish(&ir::Snapshot::default(), snapshot);
                    controller.distributor.set_complete();
                    controller
                });
                Self { controller, runtime }
            });
            thread.join().unwrap()
        })
    }

    fn kill(self) {
        // The tasks are dropped where they stand; nothing is told to end.
        self.runtime.shutdown_background();
        std::mem::forget(self.controller);
    }
}

fn snapshot(backend: SocketAddr, version: u32) -> ir::Snapshot {
    let listener = listener_key("shop/web", "http");
    let mut all = vec![
        ir::Resource::Gateway(world::gateway("shop/web")),
        ir::Resource::Listener(world::http("shop/web", "http", 80)),
        ir::Resource::Route(world::route("shop/app", &[listener], &["shop/app"], version)),
    ];
    all.extend(world::service("shop/app", backend));
    world::with(ir::Snapshot::default(), all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_dies_a_hundred_times_costs_no_request() {
    let (trust, mut backends) = (Trust::new(), Backends::default());
    let backend = backends.start("app".to_owned()).await;
    let mut mortal = Mortal::start(&trust, "127.0.0.1:0".parse().unwrap(), &snapshot(backend, 0));
    let address = mortal.controller.address;
    let bind = loopback();
    let gateway = Gateway::start(GatewayOptions { bind, port_offset: PORT_OFFSET, ..Default::default() });
    let gateway = gateway.await.unwrap();
    let client = SyncClient::start(gateway.proxy().clone(), trust.options(address, "shop/web")).await;
    let (mut state, stop) = (client.state(), CancellationToken::new());
    tokio::spawn(client.run(stop.clone()));
    soon("the first configuration", state.wait_for(|state| state.configured)).await.unwrap();
    let served = SocketAddr::new(bind, 80 + PORT_OFFSET);
    let request = Ask::get("http://a.example/").to_http1();
    let load = Load::start(served, 4, request, |_| Ok(()));
    load.more(100).await;
    for kill in 1..=KILLS {
        mortal.kill();
        load.more(20).await;
        let returned = Instant::now();
        eventually("its port is free", || async { tokio::net::TcpListener::bind(address).await.is_ok() })
            .await;
        mortal = Mortal::start(&trust, address, &snapshot(backend, kill));
        if kill % 10 == 0 {
            // It says something new, and that is served.
            let wanted = kill.to_string();
            eventually("the newest version is served", || async {
                let answer = Wire::connect(served).await.ask(&Ask::get("http://a.example/")).await;
                answer.header("x-version") == Some(wanted.as_str())
            })
            .await;
            let took = returned.elapsed();
            assert!(took < Duration::from_secs(2), "{took:?} after kill {kill}");
        }
    }
    let account = load.finish().await;
    account.expect_all_200();
    assert!(account.answered() > u64::from(KILLS) * 20);
    stop.cancel();
    mortal.kill();
}

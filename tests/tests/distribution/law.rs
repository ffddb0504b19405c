//! Deltas equal the snapshot, over the wire: whatever changes, and however often the connection breaks, a data plane
//! ends up with exactly what belongs to its Gateway.

use crate::controller::{Controller, Trust};
use crate::world::{self, listener_key, scope, two_gateways};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_ir as ir;
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::sync::SyncClient;
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use sluice_tests::{PORT_OFFSET, eventually, loopback};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

const GATEWAYS: [&str; 2] = ["shop/web", "bank/web"];
const NAMES: [&str; 4] = ["shop/a", "shop/b", "bank/a", "common/both"];

/// A change, or a moment of bad luck.
#[derive(Clone, Debug)]
enum Step {
    Route {
        name: usize,
        listeners: Vec<(usize, bool)>,
        to: Vec<usize>,
        version: u32,
    },
    NoRoute(usize),
    Service {
        name: usize,
        port: u16,
    },
    NoService(usize),
    Listener {
        gateway: usize,
        secure: bool,
        certificate: usize,
    },
    NoListener {
        gateway: usize,
        secure: bool,
    },
    /// A listener moves to the other Gateway, as those of a ListenerSet do.
    Moved {
        from: usize,
    },
    Certificate {
        name: usize,
        content: u8,
    },
    NoGateway(usize),
    Gateway {
        gateway: usize,
        certificate: Option<usize>,
    },
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    prop_oneof![
        5 => (name(), vec((0..2_usize, any::<bool>()), 0..3), vec(name(), 0..3), 0..9_u32).prop_map(
            |(name, listeners, to, version)| Step::Route { name, listeners, to, version }
        ),
        1 => name().prop_map(Step::NoRoute),
        3 => (name(), 1..9_u16).prop_map(|(name, port)| Step::Service { name, port }),
        1 => name().prop_map(Step::NoService),
        2 => (0..2_usize, any::<bool>(), name()).prop_map(|(gateway, secure, certificate)| Step::Listener { gateway, secure, certificate }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(gateway, secure)| Step::NoListener { gateway, secure }),
        1 => (0..2_usize).prop_map(|from| Step::Moved { from }),
        2 => (name(), any::<u8>()).prop_map(|(name, content)| Step::Certificate { name, content }),
        1 => (0..2_usize).prop_map(Step::NoGateway),
        2 => (0..2_usize, proptest::option::of(name())).prop_map(|(gateway, certificate)| Step::Gateway { gateway, certificate }),
        4 => Just(Step::Break),
    ]
}

fn key(gateway: usize, secure: bool) -> ir::ListenerKey {
    listener_key(GATEWAYS[gateway], if secure { "https" } else { "http" })
}

fn apply(all: &mut ir::Snapshot, step: &Step) {
    let mut delta = ir::Delta::default();
    match step {
        Step::Break => {}
        Step::Route { name, listeners, to, version } => {
            let mut keys: Vec<_> = listeners.iter().map(|(gateway, secure)| key(*gateway, *secure)).collect();
            keys.sort();
            keys.dedup();
            let to: Vec<_> = to.iter().map(|name| NAMES[*name]).collect();
            delta.upserts.push(ir::Resource::Route(world::route(NAMES[*name], &keys, &to, *version)));
        }
        Step::NoRoute(name) => {
            let key = ir::RouteKey::new(format!("HTTPRoute/{}", NAMES[*name]));
            delta.removals.push(ir::ResourceKey::Route(key));
        }
        Step::Service { name, port } => {
            delta.upserts.extend(world::service(NAMES[*name], SocketAddr::from(([192, 0, 2, 1], *port))));
        }
        Step::NoService(name) => {
            let [backend, set] = world::service(NAMES[*name], SocketAddr::from(([192, 0, 2, 1], 1)));
            delta.removals = vec![backend.key(), set.key()];
        }
        Step::Listener { gateway, secure, certificate } => {
            let of = GATEWAYS[*gateway];
            let listener = match secure {
                true => world::https(of, "https", 443, NAMES[*certificate]),
                false => world::http(of, "http", 80),
            };
            delta.upserts.push(ir::Resource::Listener(listener));
        }
        Step::NoListener { gateway, secure } => {
            delta.removals.push(ir::ResourceKey::Listener(key(*gateway, *secure)));
        }
        Step::Moved { from } => {
            if let Some(listener) = all.listeners.get(&key(*from, false)) {
                let gateway = ir::GatewayKey::new(GATEWAYS[1 - from]);
                let moved = ir::Listener { gateway, port: 81, ..(**listener).clone() };
                delta.upserts.push(ir::Resource::Listener(moved.into()));
            }
        }
        Step::Certificate { name, content } => {
            let mut certificate = (*world::certificate(NAMES[*name])).clone();
            certificate.private_key = ir::SecretBytes::new(vec![*content]);
            delta.upserts.push(ir::Resource::Certificate(certificate.into()));
        }
        Step::NoGateway(gateway) => {
            delta.removals.push(ir::ResourceKey::Gateway(ir::GatewayKey::new(GATEWAYS[*gateway])));
        }
        Step::Gateway { gateway, certificate } => {
            let key = certificate.map(|name| ir::CertificateKey::new(format!("Secret/{}", NAMES[name])));
            let plain = (*world::gateway(GATEWAYS[*gateway])).clone();
            let gateway = ir::Gateway { backend_certificate: key, ..plain };
            delta.upserts.push(ir::Resource::Gateway(gateway.into()));
        }
    }
    all.apply(&delta);
}

/// A way to the controller that can be cut.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Relay {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, open) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<AbortHandle>>>::default());
        let opened = open.clone();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let task = tokio::spawn(async move {
                    let mut there = TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
                opened.lock().unwrap().push(task.abort_handle());
            }
        });
        Self { address, open }
    }

    pub(crate) fn cut(&self) {
        self.open.lock().unwrap().drain(..).for_each(|task| task.abort());
    }
}

async fn follow(steps: &[Step]) {
    let (trust, mut all) = (Trust::new(), two_gateways());
    let controller = Controller::start(&trust, &all).await;
    let relay = Relay::to(controller.address).await;
    let mut proxies = Vec::new();
    let stop = CancellationToken::new();
    for gateway in GATEWAYS {
        let plan =
            BindPlan { bind: loopback(), port_offset: PORT_OFFSET, cluster_ports: false, is_captured: false };
        let proxy = Proxy::new(ProxyOptions {
            plan,
            resolver: Resolver::system(),
            log: AccessLogger::stdout(),
            identity: None,
            mesh: None,
        })
        .unwrap();
        let client = SyncClient::start(proxy.clone(), trust.options(relay.address, gateway)).await;
        tokio::spawn(client.run(stop.clone()));
        proxies.push((gateway, proxy));
    }
    for step in steps {
        if matches!(step, Step::Break) {
            relay.cut();
            tokio::task::yield_now().await;
        }
        let before = all.clone();
        apply(&mut all, step);
        // The accounts of Gateways stay, so that their proxies hear that everything is gone.
        controller.distributor.publish(&before.delta_to(&all));
    }
    for (gateway, proxy) in &proxies {
        let wanted = scope(&all, gateway);
        eventually(&format!("{gateway} is as it should after {steps:?}"), || async {
            proxy.snapshot() == wanted
        })
        .await;
    }
    stop.cancel();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn deltas_over_a_connection_that_breaks_equal_the_snapshot(steps in vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(follow(&steps));
        runtime.shutdown_background();
    }
}

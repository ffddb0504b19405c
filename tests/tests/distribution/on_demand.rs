//! Sidecars: what governs their workloads, and the destinations that they ask for when somebody calls them. A sidecar holds
//! what it calls and nothing else, an answer comes with all that belongs to it, and answers are corrected by themselves.

use crate::controller::{Controller, Trust};
use crate::world::{self, scopes};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_ir as ir;
use sluice_proxy::snapshot::BindPlan;
use sluice_proxy::sync::{OnDemand, SyncClient, SyncOptions, SyncState, Wanted};
use sluice_proxy::telemetry::AccessLogger;
use sluice_proxy::upstream::Resolver;
use sluice_proxy::{Proxy, ProxyOptions};
use sluice_tests::{PORT_OFFSET, eventually, loopback};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The namespace of the sidecars here.
const HOME: &str = "shop";

fn workloads(namespace: &str) -> ir::Resource {
    ir::Resource::Workloads(Arc::new(ir::Workloads {
        key: ir::WorkloadsKey::new(namespace),
        origin: ir::Origin::new("Namespace", "", namespace),
        trust_domains: vec!["cluster.local".to_owned()],
        outbound: ir::Outbound::AllowAny,
        scopes: Vec::new(),
        mutual_tls: Vec::new(),
        authorization: Vec::new(),
        authentication: Vec::new(),
        telemetry: Vec::new(),
        paths: ir::PathNormalization::default(),
        names: Default::default(),
        always_allowed: Vec::new(),
    }))
}

fn address(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from(([127, 66, high, low], 80))
}

/// A destination whose one port leads to the service `shop/NUMBER`, which others may share.
fn destination(number: usize, face: &str, to: usize) -> Vec<ir::Resource> {
    let name = format!("Mesh/Service/shop/d{number}{face}");
    let (key, target) = (ir::ListenerKey::new(format!("{name}/80")), format!("shop/s{to}"));
    let listener = ir::Listener {
        key: key.clone(),
        gateway: ir::GatewayKey::new(name.as_str()),
        addresses: vec![address(number).ip()],
        ..(*world::http("shop/web", "http", 80)).clone()
    };
    let route = ir::Route {
        key: ir::RouteKey::new(key.as_str()),
        ..(*world::route("shop/default", &[key], &[&target], 1)).clone()
    };
    let mut all = vec![
        ir::Resource::Gateway(world::gateway(&name)),
        ir::Resource::Listener(listener.into()),
        ir::Resource::Route(route.into()),
    ];
    all.extend(world::service(&target, SocketAddr::from(([192, 0, 2, 1], 8080))));
    all
}

/// The same with another listener.
fn destination_by(
    number: usize,
    face: &str,
    change: impl Fn(ir::Listener) -> ir::Listener,
) -> Vec<ir::Resource> {
    let all = destination(number, face, number).into_iter();
    let changed = all.map(|it| match it {
        ir::Resource::Listener(it) => ir::Resource::Listener(Arc::new(change((*it).clone()))),
        other => other,
    });
    changed.collect()
}

/// A sidecar of `HOME`.
struct Sidecar {
    proxy: Arc<Proxy>,
    on_demand: OnDemand,
    state: watch::Receiver<SyncState>,
    _stop: DropGuard,
}

impl Sidecar {
    fn options(trust: &Trust, controller: &Controller, namespace: &str) -> SyncOptions {
        let mut options = trust.options(controller.address, &format!("Workloads/{namespace}"));
        options.token_file = trust.folder().join("of-the-sidecar");
        std::fs::write(&options.token_file, format!("{HOME}/cart\n")).unwrap();
        options.node = "cart-0".to_owned();
        options
    }

    async fn start(options: SyncOptions) -> Self {
        let plan =
            BindPlan { bind: loopback(), port_offset: PORT_OFFSET, cluster_ports: false, is_captured: false };
        let options_of_proxy = ProxyOptions {
            plan,
            resolver: Resolver::system(),
            log: AccessLogger::stdout(),
            identity: None,
            mesh: None,
        };
        let proxy = Proxy::new(options_of_proxy).unwrap();
        let client = SyncClient::start(proxy.clone(), options).await;
        let (on_demand, state, stop) = (client.on_demand(), client.state(), CancellationToken::new());
        tokio::spawn(client.run(stop.clone()));
        Self { proxy, on_demand, state, _stop: stop.drop_guard() }
    }

    async fn want(&self, number: usize) -> Wanted {
        self.on_demand.want(&address(number).to_string()).await
    }
}

fn known(number: usize, face: &str) -> Wanted {
    Wanted::Known(ir::GatewayKey::new(format!("Mesh/Service/shop/d{number}{face}")))
}

fn mesh(destinations: usize) -> ir::Snapshot {
    let all = (0..destinations).flat_map(|number| destination(number, "", number));
    world::with(ir::Snapshot::default(), all.chain([workloads(HOME), workloads("blog")]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_calls_3_of_5000_destinations_holds_3() {
    let (trust, all) = (Trust::new(), mesh(5000));
    let controller = Controller::start(&trust, &all).await;
    let sidecar = Sidecar::start(Sidecar::options(&trust, &controller, HOME)).await;
    eventually("it is configured", || async { sidecar.state.borrow().configured }).await;
    assert_eq!(sidecar.proxy.snapshot().len(), 1, "what governs its workloads alone");
    let mut wanted = vec!["Workloads/shop".to_owned()];
    for number in [7, 4711, 42] {
        let asked = Instant::now();
        assert_eq!(sidecar.want(number).await, known(number, ""));
        println!("an answer after {:?}", asked.elapsed());
        wanted.push(format!("Mesh/Service/shop/d{number}"));
        // All that belongs to it is there when the answer is.
        assert_eq!(sidecar.proxy.snapshot(), scopes(&all, &wanted));
    }
    assert_eq!(sidecar.want(7).await, known(7, ""), "from its table");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_an_answer_until_somebody_comes_and_faces_are_exchanged() {
    let (trust, before) = (Trust::new(), mesh(1));
    let controller = Controller::start(&trust, &before).await;
    let sidecar = Sidecar::start(Sidecar::options(&trust, &controller, HOME)).await;
    assert_eq!(sidecar.want(1).await, Wanted::Nobody);
    let come = world::with(before.clone(), destination(1, "", 1));
    controller.publish(&before, &come);
    let is = async |wanted: Wanted| {
        let known = || async { sidecar.on_demand.known(&address(1).to_string()) == Some(wanted.clone()) };
        eventually("the answer is the right one", known).await;
    };
    is(known(1, "")).await;
    // Clients of this namespace see something else now, those of another do not matter.
    let faced =
        world::with(come.clone(), destination(1, "@shop", 2).into_iter().chain(destination(1, "@blog", 3)));
    controller.publish(&come, &faced);
    is(known(1, "@shop")).await;
    let own = ["Workloads/shop".to_owned(), "Mesh/Service/shop/d1@shop".to_owned()];
    assert_eq!(sidecar.proxy.snapshot(), scopes(&faced, &own));
    controller.publish(&faced, &come);
    is(known(1, "")).await;
    controller.publish(&come, &before);
    is(Wanted::Nobody).await;
    assert_eq!(sidecar.proxy.snapshot(), scopes(&before, &["Workloads/shop".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_found_by_its_name_and_below_a_wildcard() {
    let trust = Trust::new();
    let named = |number: usize, host: &'static str| {
        destination_by(number, "", |it| ir::Listener {
            addresses: Vec::new(),
            hostname: ir::HostPattern::parse(host),
            ..it
        })
    };
    let all = [named(0, "api.test"), named(1, "*.wild.test"), vec![workloads(HOME)]].concat();
    let controller = Controller::start(&trust, &world::with(ir::Snapshot::default(), all)).await;
    let sidecar = Sidecar::start(Sidecar::options(&trust, &controller, HOME)).await;
    assert_eq!(sidecar.on_demand.want("api.test:80").await, known(0, ""));
    assert_eq!(sidecar.on_demand.want("a.b.wild.test:80").await, known(1, ""));
    for name in ["api.test:81", "wild.test:80", "b.api.test:80"] {
        assert_eq!(sidecar.on_demand.want(name).await, Wanted::Nobody, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_found_by_itself_then_by_the_most_specific_network_and_moves_with_it() {
    let trust = Trust::new();
    let within = |number: usize, face: &'static str, networks: &'static [&'static str]| {
        destination_by(number, face, |it| ir::Listener {
            addresses: Vec::new(),
            networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
            ..it
        })
    };
    let base = [
        within(1, "", &["127.0.0.0/8", "fd00::/8"]),
        within(2, "@shop", &["127.66.0.0/16"]),
        within(3, "@blog", &["127.66.0.0/24"]),
        destination(9, "", 9),
        vec![workloads(HOME)],
    ];
    let before = world::with(ir::Snapshot::default(), base.concat());
    let controller = Controller::start(&trust, &before).await;
    let sidecar = Sidecar::start(Sidecar::options(&trust, &controller, HOME)).await;
    for (name, found) in [
        (address(9).to_string(), known(9, "")),
        (address(8).to_string(), known(2, "@shop")),
        ("127.1.2.3:80".to_owned(), known(1, "")),
        ("[fd12::1]:80".to_owned(), known(1, "")),
        ("127.1.2.3:81".to_owned(), Wanted::Nobody),
        ("192.0.2.1:80".to_owned(), Wanted::Nobody),
    ] {
        assert_eq!(sidecar.on_demand.want(&name).await, found, "{name}");
    }
    // A network that is more specific comes, and goes: what was answered is corrected.
    let come = world::with(before.clone(), within(4, "", &["127.66.0.8/31"]));
    controller.publish(&before, &come);
    let is = async |wanted: Wanted| {
        let known = || async { sidecar.on_demand.known(&address(8).to_string()) == Some(wanted.clone()) };
        eventually("the answer is the right one", known).await;
    };
    is(known(4, "")).await;
    assert_eq!(sidecar.on_demand.want(&address(9).to_string()).await, known(9, ""));
    controller.publish(&come, &before);
    is(known(2, "@shop")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_gets_the_workloads_of_its_own_namespace_alone() {
    let trust = Trust::new();
    let controller = Controller::start(&trust, &mesh(1)).await;
    let sidecar = Sidecar::start(Sidecar::options(&trust, &controller, "blog")).await;
    eventually("it is refused", || async {
        let trouble = sidecar.state.borrow().trouble.clone();
        trouble.is_some_and(|it| it.contains("may not have Workloads/blog"))
    })
    .await;
    assert!(sidecar.proxy.snapshot().is_empty());
    // Who waits for nothing is told at once.
    let asked = Instant::now();
    assert_eq!(sidecar.want(0).await, Wanted::Unavailable);
    assert!(asked.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_is_on_the_disk_and_stays_over_a_start() {
    let (trust, all) = (Trust::new(), mesh(3));
    let controller = Controller::start(&trust, &all).await;
    let options = SyncOptions {
        snapshot_dir: Some(trust.folder().join("kept")),
        ..Sidecar::options(&trust, &controller, HOME)
    };
    let first = Sidecar::start(options.clone()).await;
    assert_eq!(first.want(2).await, known(2, ""));
    let own = ["Workloads/shop".to_owned(), "Mesh/Service/shop/d2".to_owned()];
    let wanted = scopes(&all, &own);
    eventually("it is on the disk", || async { kept(&options).await == wanted }).await;
    drop(first);
    // The controller is away: what was known is served, and nobody waits.
    let alone = SyncOptions { controller: "https://127.0.0.1:9".parse().unwrap(), ..options.clone() };
    let second = Sidecar::start(alone).await;
    assert_eq!(second.proxy.snapshot(), wanted);
    assert_eq!(second.want(2).await, known(2, ""));
    drop(second);
    // It is back, and something else has changed: nothing of what was asked is taken away.
    let changed = world::with(all.clone(), destination(2, "", 1));
    controller.publish(&all, &changed);
    let third = Sidecar::start(options).await;
    let wanted = scopes(&changed, &own);
    eventually("it is as it should", || async { third.proxy.snapshot() == wanted }).await;
}

/// What a process would begin with.
async fn kept(options: &SyncOptions) -> ir::Snapshot {
    let alone = SyncOptions { controller: "https://127.0.0.1:9".parse().unwrap(), ..options.clone() };
    Sidecar::start(alone).await.proxy.snapshot()
}

/// A change, a question, or a moment of bad luck.
#[derive(Clone, Debug)]
enum Step {
    Destination { number: usize, face: usize, to: usize },
    NoDestination { number: usize, face: usize },
    Ask(usize),
    Break,
}

const FACES: [&str; 3] = ["", "@shop", "@blog"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, 0..3_usize, 0..3_usize).prop_map(|(number, face, to)| Step::Destination { number, face, to }),
        2 => (0..4_usize, 0..3_usize).prop_map(|(number, face)| Step::NoDestination { number, face }),
        3 => (0..4_usize).prop_map(Step::Ask),
        1 => Just(Step::Break),
    ]
}

fn apply(all: &mut ir::Snapshot, step: &Step) {
    let mut delta = ir::Delta::default();
    match step {
        Step::Destination { number, face, to } => delta.upserts = destination(*number, FACES[*face], *to),
        Step::NoDestination { number, face } => {
            let own = destination(*number, FACES[*face], 0);
            // Services are others' too.
            delta.removals = own.iter().take(3).map(ir::Resource::key).collect();
        }
        Step::Ask(_) | Step::Break => {}
    }
    all.apply(&delta);
}

/// The slow and obvious answer.
fn found(all: &ir::Snapshot, number: usize) -> Option<String> {
    let name = format!("Mesh/Service/shop/d{number}");
    let faces = [format!("{name}@{HOME}"), name];
    faces.into_iter().find(|it| all.gateways.contains_key(&ir::GatewayKey::new(it.as_str())))
}

async fn follow(steps: &[Step]) {
    let (trust, mut all) = (Trust::new(), mesh(2));
    let controller = Controller::start(&trust, &all).await;
    let relay = crate::law::Relay::to(controller.address).await;
    let mut options = Sidecar::options(&trust, &controller, HOME);
    options.controller = format!("https://{}", relay.address).parse().unwrap();
    let sidecar = Sidecar::start(options).await;
    let mut asked = std::collections::BTreeSet::new();
    for step in steps {
        match step {
            Step::Break => {
                relay.cut();
                tokio::task::yield_now().await;
            }
            Step::Ask(number) => {
                // Whatever comes of it now.
                sidecar.want(*number).await;
                asked.insert(*number);
            }
            Step::Destination { .. } | Step::NoDestination { .. } => {}
        }
        let before = all.clone();
        apply(&mut all, step);
        controller.publish(&before, &all);
    }
    let mut own: Vec<String> = asked.iter().filter_map(|number| found(&all, *number)).collect();
    own.push("Workloads/shop".to_owned());
    let wanted = scopes(&all, &own);
    eventually(&format!("the sidecar has what it asked for after {steps:?}"), || async {
        sidecar.proxy.snapshot() == wanted
    })
    .await;
    for number in asked {
        let answer = found(&all, number).map_or(Wanted::Nobody, |it| Wanted::Known(ir::GatewayKey::new(it)));
        eventually("each answer is right", || async { sidecar.want(number).await == answer }).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_sidecar_has_exactly_what_it_asked_for_whatever_changes_and_breaks(steps in vec(step(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(follow(&steps));
        runtime.shutdown_background();
    }
}

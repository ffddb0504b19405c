//! Ten thousand hosts with certificates of their own in one `sluice-gateway`: what they weigh, what a handshake costs
//! beside one of a gateway with one host, and whether all of them can be renewed under load.
//!
//! The configuration comes as in a cluster, over delta xDS, from a distributor in this process.

use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use rustls::pki_types::ServerName;
use sluice_controller::ca::{Root, ServingCertificate};
use sluice_controller::serve::{self, Authenticator, Denied, Distributor, ProxyIdentity, ServeOptions};
use sluice_ir as ir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::window::{self, mib};
use crate::bench::Bench;
use crate::certificate;
use crate::generator::{Link, Load, Pace, Plan, Target, Until};
use crate::measure::process::Process;
use crate::peers::{free_port, local, request};
use crate::results::{Figure, Figures};

const HOSTS: usize = 10_000;
/// Load before a measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long a gateway may take to serve its hosts, and to renew them.
const LIMIT: Duration = Duration::from_secs(60);
/// Name in the distributor's certificate.
const NAME: &str = "controller.load.test";
const GATEWAY: &str = "load/web";

/// One host, then all of them.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let one = Stand::start(bench, 1).await?;
    let (_, of_one) = one.handshakes(bench).await?;
    drop(one);
    let mut all = Stand::start(bench, HOSTS).await?;
    let memory = all.gateway.settled_usage().await?;
    let (_, mut figures) = all.handshakes(bench).await?;
    let (renewal, failed) = all.renew(bench).await?;
    let cpu = |figures: &Figures| figures.get(&Figure::CpuPerRequest).copied().unwrap_or(f64::NAN);
    let (single, many) = (cpu(&of_one), cpu(&figures));
    figures.insert(Figure::CpuOneHost, single);
    figures.insert(Figure::OfOneHost, many / single);
    figures.insert(Figure::Memory, mib(memory.memory_kib));
    figures.insert(Figure::PeakMemory, mib(all.gateway.usage()?.peak_memory_kib));
    figures.insert(Figure::Changes, HOSTS as f64);
    figures.insert(Figure::RenewalTime, renewal.as_secs_f64() * 1e3);
    *figures.entry(Figure::Failures).or_default() += failed as f64;
    Ok(figures)
}

/// A distributor and a gateway that follows it.
struct Stand {
    snapshot: ir::Snapshot,
    distributor: Distributor,
    authority: certificate::Authority,
    names: Rc<[ServerName<'static>]>,
    plan: Plan,
    gateway: Process,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Stand {
    async fn start(bench: &Bench, hosts: usize) -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = certificate::Authority::new()?;
        let (port, backend) = (free_port()?, bench.small.0);
        let snapshot = snapshot(&authority, hosts, port, backend)?;
        let (distributor, stop) = (Distributor::new(), CancellationToken::new());
        let root = Root::generate(SystemTime::now())?;
        let tls = ServingCertificate::new(&root, vec![NAME.to_owned()], SystemTime::now())?;
        let options = ServeOptions::new(local(0), "load");
        let served =
            serve::serve(distributor.clone(), options, Arc::new(Anyone), Arc::new(tls), stop.clone());
        let address = served.await?;
        distributor.set_account(&ir::GatewayKey::new(GATEWAY), Some("load".to_owned()));
        distributor.publish(&ir::Snapshot::default().delta_to(&snapshot));
        distributor.set_complete();
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("ca.crt"), root.certificate())?;
        std::fs::write(folder.path().join("token"), "anyone")?;
        let program = bench.programs.sluice.with_file_name("sluice-gateway");
        let mut command = Command::new(&program);
        command.args(["--controller", &format!("https://{address}"), "--controller-name", NAME]);
        command.args(["--gateway", GATEWAY, "--node", "load-0", "--bind", "127.0.0.1"]);
        command.args(["--admin", &local(free_port()?).to_string()]);
        command.arg("--token-file").arg(folder.path().join("token"));
        command.arg("--ca-file").arg(folder.path().join("ca.crt"));
        command.arg("--snapshot-dir").arg(folder.path().join("snapshots"));
        let gateway = Process::start(&command, bench.proxy_core, folder.path())
            .with_context(|| format!("{}; build it with --release -p sluice-gateway", program.display()))?;
        let plan = plan(&authority, hosts, local(port), bench)?;
        let names = plan.server_names.clone().unwrap_or_default();
        let mut stand = Self {
            snapshot,
            distributor,
            authority,
            names,
            plan,
            gateway,
            _folder: folder,
            _stop: stop.drop_guard(),
        };
        stand.until_served().await?;
        Ok(stand)
    }

    async fn until_served(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        for place in [0, self.names.len() - 1] {
            while let Err(error) = self.leaf(place).await {
                let ended = self.gateway.exited()?;
                ensure!(
                    ended.is_none() && Instant::now() < deadline,
                    "{error:#}: {}",
                    self.gateway.last_words()
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// The certificate that a host shows now.
    async fn leaf(&self, place: usize) -> Result<Vec<u8>> {
        let Some((config, _)) = &self.plan.target.tls else { return Ok(Vec::new()) };
        let name = self.names[place].clone();
        let target = Target::tls(self.plan.target.address, config.clone(), name);
        let link = Link::connect(&target, None).await?;
        Ok(link.certificate().context("no certificate")?.to_vec())
    }

    /// A full handshake and a request for each of the hosts in turn.
    async fn handshakes(&self, bench: &Bench) -> Result<(crate::generator::Tally, Figures)> {
        Load::run(Plan { until: Until::Elapsed(WARM_UP), ..self.plan.clone() }).await;
        let plan = Plan { until: Until::Elapsed(bench.length), ..self.plan.clone() };
        window::around(&self.gateway, bench, async { Ok(Load::run(plan).await) }).await
    }

    /// Renews every certificate at once under load; until the hosts show them, and what failed meanwhile.
    async fn renew(&mut self, bench: &Bench) -> Result<(Duration, u64)> {
        let mut next = self.snapshot.clone();
        for certificate in next.certificates.values_mut() {
            let names: Vec<&str> = certificate.names.iter().map(String::as_str).collect();
            let (chain, private_key) = self.authority.issue(&names)?;
            *certificate =
                Arc::new(ir::Certificate { chain, private_key, ..ir::Certificate::clone(certificate) });
        }
        let places = [0, self.names.len() / 2, self.names.len() - 1];
        let mut before = Vec::new();
        for place in places {
            before.push(self.leaf(place).await?);
        }
        let load = Load::start(Plan { until: Until::Told, ..self.plan.clone() });
        let started = Instant::now();
        self.distributor.publish(&self.snapshot.delta_to(&next));
        self.snapshot = next;
        for (place, before) in places.into_iter().zip(before) {
            while self.leaf(place).await? == before {
                ensure!(started.elapsed() < LIMIT, "host {place} shows its old certificate");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let renewal = started.elapsed();
        // New ones are shown under load for a while.
        tokio::time::sleep(bench.length.min(Duration::from_secs(2))).await;
        load.stop();
        let tally = load.finish(LIMIT).await;
        window::tell_failures(&tally);
        Ok((renewal, tally.failed()))
    }
}

fn host(number: usize) -> String {
    format!("h{number:05}.load.test")
}

fn plan(
    authority: &certificate::Authority,
    hosts: usize,
    address: SocketAddr,
    bench: &Bench,
) -> Result<Plan> {
    // Far apart: 7,919 is prime.
    let order = || (0..hosts).map(|n| n * 7_919 % hosts);
    let names: Result<Vec<_>, _> = order().map(|n| ServerName::try_from(host(n))).collect();
    let names: Rc<[ServerName<'static>]> = names?.into();
    Ok(Plan {
        target: Target::tls(address, authority.client()?, names[0].clone()),
        requests: order().map(|n| request(&host(n), "/")).collect(),
        body_bytes: bench.small.1,
        connections: 16,
        pace: Pace::Closed,
        until: Until::Told,
        reconnect: true,
        server_names: Some(names),
        may_refuse: false,
    })
}

/// A listener, a route and a certificate for each host, all to one backend.
fn snapshot(
    authority: &certificate::Authority,
    hosts: usize,
    port: u16,
    backend: SocketAddr,
) -> Result<ir::Snapshot> {
    let mut upserts = vec![gateway()];
    upserts.extend(service(backend));
    for number in 0..hosts {
        let host = host(number);
        let (chain, private_key) = authority.issue(&[&host])?;
        let certificate = ir::Certificate {
            key: ir::CertificateKey::new(format!("Secret/load/{number}")),
            origin: ir::Origin::new("Secret", "load", number.to_string()),
            names: vec![host.clone()],
            chain,
            private_key,
            staple: None,
            on_demand: None,
        };
        let listener = ir::Listener {
            key: ir::ListenerKey::new(format!("ListenerSet/load/{number}/https")),
            origin: ir::Origin::new("ListenerSet", "load", number.to_string()).section("https"),
            gateway: ir::GatewayKey::new(GATEWAY),
            addresses: Vec::new(),
            networks: Vec::new(),
            port,
            protocol: ir::ListenerProtocol::Https(ir::Tls::showing(vec![certificate.key.clone()])),
            hostname: ir::HostPattern::parse(&host),
            destination: None,
            traffic: None,
        };
        upserts.push(route(number, &listener));
        upserts.push(ir::Resource::Listener(Arc::new(listener)));
        upserts.push(ir::Resource::Certificate(Arc::new(certificate)));
    }
    let mut snapshot = ir::Snapshot::default();
    snapshot.apply(&ir::Delta { upserts, removals: Vec::new() });
    Ok(snapshot)
}

fn gateway() -> ir::Resource {
    let mut settings = ir::Settings::standard();
    settings.limits.connections_per_client = 20_000;
    ir::Resource::Gateway(Arc::new(ir::Gateway::plain(
        ir::GatewayKey::new(GATEWAY),
        ir::Origin::new("Gateway", "load", "web"),
        settings,
    )))
}

fn service(backend: SocketAddr) -> [ir::Resource; 2] {
    let origin = || ir::Origin::new("Service", "load", "app");
    let endpoint = ir::Endpoint {
        address: ir::EndpointAddress::Socket(backend),
        state: ir::EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: None,
    };
    let endpoints = ir::EndpointSetKey::new("Service/load/app:80");
    let set = ir::EndpointSet {
        key: endpoints.clone(),
        origin: origin(),
        endpoints: vec![endpoint],
        is_external: false,
        takes_first: false,
        asked: None,
    };
    let backend = ir::Backend {
        key: ir::BackendKey::new("Service/load/app:80"),
        origin: origin(),
        protocol: ir::BackendProtocol::Http1,
        endpoints,
        tls: None,
        policy: None,
        health: None,
        mesh: ir::MeshTls::Off,
    };
    [ir::Resource::EndpointSet(Arc::new(set)), ir::Resource::Backend(Arc::new(backend))]
}

fn route(number: usize, listener: &ir::Listener) -> ir::Resource {
    let backend = ir::WeightedBackend {
        target: ir::BackendTarget::Backend(ir::BackendKey::new("Service/load/app:80")),
        weight: 1,
        filters: Box::default(),
    };
    let rule = ir::Rule {
        index: 0,
        name: None,
        matches: [ir::Match::default()].into(),
        filters: Vec::new().into(),
        backends: [backend].into(),
        timeouts: None,
        retry: None,
        session_persistence: None,
    };
    let attachment =
        ir::Attachment { listener: listener.key.clone(), hostnames: [listener.hostname.clone()].into() };
    ir::Resource::Route(Arc::new(ir::Route {
        key: ir::RouteKey::new(format!("HTTPRoute/load/{number}")),
        origin: ir::Origin::new("HTTPRoute", "load", number.to_string()),
        kind: ir::RouteKind::Http,
        created_s: 0,
        attachments: [attachment].into(),
        traffic: None,
        rules: [rule].into(),
    }))
}

/// There is nobody else on this loopback.
struct Anyone;

#[async_trait]
impl Authenticator for Anyone {
    async fn authenticate(&self, _token: &str) -> Result<ProxyIdentity, Denied> {
        let (namespace, service_account) = ("load".to_owned(), "load".to_owned());
        Ok(ProxyIdentity { namespace, service_account, pod: None, expires: None })
    }
}

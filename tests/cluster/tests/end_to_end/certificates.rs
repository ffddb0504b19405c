//! Certificates of a Gateway: two controllers of which one orders, two data planes which both answer, a real authority.

use super::sessions;
use super::stand::{alone, gateway_pods, kind};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustls_pki_types::ServerName;
use sluice_cluster_tests::{HOST, SYSTEM, Signal, Space, eventually};
use sluice_tests::acme::{Allow, KEY_NAME, Named, Pebble, PebbleOptions};
use sluice_tests::tls;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const GATEWAY: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, annotations: {sluice.dev/certificate-issuer: pebble}}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: plain, port: 443, protocol: HTTPS, hostname: plain.example.test}
  - {name: alpn, port: 443, protocol: HTTPS, hostname: alpn.example.test, tls: {certificateRefs: [{name: alpn}]}}
  - {name: wild, port: 443, protocol: HTTPS, hostname: "*.wild.example.test"}
"#;

/// One more listener, for names that handshakes ask for.
const SHOPS: &str = r#"  - name: shops
    port: 443
    protocol: HTTPS
    hostname: "*.shops.example.test"
    tls: {options: {sluice.dev/certificate-issuer: shops}}
"#;

/// Hosts, and in which Secret their certificate is.
const HOSTS: [&str; 3] = ["plain.example.test", "alpn.example.test", "a.wild.example.test"];

fn issuer(named: &Named, pebble: &Pebble) -> String {
    let authorities: String = pebble.authorities().lines().map(|it| format!("    {it}\n")).collect();
    let key = base64::engine::general_purpose::STANDARD.encode(named.key());
    let (dns, port, directory) = (named.address(), named.address().port(), pebble.directory());
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: CertificateIssuer
metadata: {{name: pebble}}
spec:
  directory: {directory}
  caBundle: |
{authorities}  resolvers: [\"{dns}\"]
  preflight: {{dnsPort: {port}}}
  solvers:
  - {{type: HTTP01, names: [plain.example.test]}}
  - {{type: TLSALPN01, names: [alpn.example.test]}}
  - {{type: DNS01, rfc2136: {{server: \"{dns}\", tsig: {{keyName: {KEY_NAME}, secretRef: {{name: tsig}}}}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: tsig}}
stringData: {{tsig-key: {key}}}
"
    )
}

/// The address of the Gateway, programmed or not.
async fn address(space: &Space) -> IpAddr {
    let api = kind(space, "Gateway");
    eventually("the Gateway has an address", async || {
        let gateway = api.get("edge").await?;
        let text = gateway.data["status"]["addresses"][0]["value"].as_str().context("none yet")?.to_owned();
        text.parse::<IpAddr>().context(text)
    })
    .await
}

/// The controller that holds the lease.
async fn leader(space: &Space) -> Pod {
    let leases: Api<Lease> = Api::namespaced(space.client.clone(), SYSTEM);
    eventually("a holder of the lease", async || {
        let holder = leases.get("sluice-controller").await?.spec.and_then(|it| it.holder_identity);
        let holder = holder.filter(|it| !it.is_empty()).context("nobody")?;
        let pods = space.controllers().await?;
        pods.into_iter().find(|pod| holder.contains(&pod.name_any())).context(holder)
    })
    .await
}

/// Another controller, as soon as it holds the lease.
async fn another(space: &Space, first: &Pod) -> Pod {
    let begun = tokio::time::Instant::now();
    loop {
        let holder = leader(space).await;
        if holder.name_any() != first.name_any() {
            return holder;
        }
        assert!(begun.elapsed() < TAKEOVER, "{} still holds the lease", first.name_any());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes of the certificate that a host is served with.
async fn shown(address: SocketAddr, host: &str) -> Result<Vec<u8>> {
    let connector = TlsConnector::from(Arc::new(tls::trusting(&["http/1.1"])));
    let shake = async {
        let name = ServerName::try_from(host.to_owned())?;
        anyhow::Ok(connector.connect(name, TcpStream::connect(address).await?).await?)
    };
    let stream = timeout(Duration::from_secs(5), shake).await??;
    let chain = stream.get_ref().1.peer_certificates().context("no certificate")?;
    Ok(chain.first().context("no certificate")?.to_vec())
}

/// More than the lease lasts without a word of its holder (15 s).
const TAKEOVER: Duration = Duration::from_secs(40);

#[test]
fn each_challenge_gives_a_certificate_and_the_death_of_the_leader_costs_no_order() {
    alone(&["controller.replicas=2", "gateway.replicas=2"], async |space| {
        let world = ordered(&space, Signal::SIGKILL).await;
        let pods = every_data_plane_serves(&space, &world.certificates).await;
        sessions::are_resumed_by_each_other(&pods, HOSTS[0]).await;
        names_of_handshakes(&space, &world, &pods).await;
    });
}

/// A process that hangs does not come back under its own name, and its connections stay: another replica has to take
/// the lease, the orders and the data planes from it.
#[test]
fn the_other_replica_goes_on_with_the_orders_of_a_leader_that_hangs() {
    alone(&["controller.replicas=2", "gateway.replicas=2"], async |space| {
        let world = ordered(&space, Signal::SIGSTOP).await;
        let pods = every_data_plane_serves(&space, &world.certificates).await;
        every_certificate_is_renewed(&space, &world, &pods).await;
    });
}

/// The authority and its DNS, and what hosts are served with.
struct World {
    named: Named,
    pebble: Pebble,
    /// In the order of [`HOSTS`].
    certificates: Vec<Vec<u8>>,
}

/// Has three names ordered, and the leader stopped by a signal when that has begun.
async fn ordered(space: &Space, signal: Signal) -> World {
    space.apply(GATEWAY).await;
    let address = address(space).await;
    let named = Named::at(HOST.into(), address, "").await;
    let options = PebbleOptions {
        ip: Some(HOST.into()),
        http_port: 80,
        tls_port: 443,
        slow_look: Some(Duration::from_secs(4)),
        ..PebbleOptions::default()
    };
    let pebble = Pebble::start(named.address(), &options).await;
    space.apply(&issuer(&named, &pebble)).await;
    eventually("orders are under way", async || {
        ensure!(pebble.orders() >= 1, "{}", pebble.said());
        anyhow::Ok(())
    })
    .await;
    let first = leader(space).await;
    space.signal(&first, signal).unwrap();
    if signal == Signal::SIGSTOP {
        // In the middle: nobody has gone on meanwhile.
        let second = another(space, &first).await;
        assert_eq!(pebble.issued(), 0, "{} was too late: {}", second.name_any(), pebble.said());
    }

    let mut certificates = Vec::new();
    for host in HOSTS {
        let what = format!("{host} is served");
        let certificate = eventually(&what, async || shown(SocketAddr::new(address, 443), host).await).await;
        certificates.push(certificate);
    }
    let said = pebble.said();
    assert_eq!((pebble.orders(), pebble.issued(), pebble.accounts()), (3, 3, 1), "{said}");
    let secrets = space.api::<Secret>().list(&ListParams::default().labels("sluice.dev/certificate")).await;
    assert_eq!(secrets.unwrap().items.len(), 3);
    no_challenge_is_left(space).await;
    conditions(space).await;
    World { named, pebble, certificates }
}

/// Another kind of key renews all of them: each data plane goes over to the new ones, and no handshake fails meanwhile.
async fn every_certificate_is_renewed(space: &Space, world: &World, data_planes: &[SocketAddr]) {
    let renewing = issuer(&world.named, &world.pebble).replacen("spec:", "spec:\n  keyType: RSA2048", 1);
    space.apply(&renewing).await;
    for (host, old) in HOSTS.iter().zip(&world.certificates) {
        for place in data_planes {
            let (old, failed) = (old.clone(), std::sync::Mutex::new(None));
            eventually(&format!("{host} is renewed at {place}"), async || {
                let found = shown(*place, host).await;
                let now = found.inspect_err(|error| *failed.lock().unwrap() = Some(format!("{error:#}")))?;
                ensure!(now != old, "the old certificate");
                anyhow::Ok(())
            })
            .await;
            assert_eq!(failed.into_inner().unwrap(), None, "a handshake for {host} failed at {place}");
        }
    }
    assert_eq!(world.pebble.orders(), 6, "{}", world.pebble.said());
}

/// A client's first handshake at one data plane has a certificate ordered, which the other one serves too.
async fn names_of_handshakes(space: &Space, world: &World, addresses: &[SocketAddr]) {
    let pebble = &world.pebble;
    let allow = Allow::at(HOST.into()).await;
    let issuer = issuer(&world.named, pebble);
    let issuer = issuer.split("\n---\n").next().unwrap().replace("name: pebble}", "name: shops}");
    space.apply(&format!("{issuer}\n  onDemand: {{allow: \"{}\"}}\n", allow.url())).await;
    space.apply(&format!("{GATEWAY}{SHOPS}")).await;
    for (number, first) in addresses.iter().enumerate() {
        let host = format!("good-{number}.shops.example.test");
        let what = format!("{host} at {first}");
        let certificate = eventually(&what, async || shown(*first, &host).await).await;
        for other in addresses {
            eventually(&format!("{host} at {other}"), async || {
                let found = shown(*other, &host).await?;
                ensure!(found == certificate, "another certificate");
                anyhow::Ok(())
            })
            .await;
        }
        let refused = shown(*first, &format!("bad-{number}.shops.example.test")).await.unwrap_err();
        assert!(refused.to_string().contains("UnrecognisedName"), "{refused:#}");
    }
    assert_eq!(pebble.orders(), 3 + addresses.len(), "{}", pebble.said());
    let questions = allow.questions();
    assert!(questions <= 2 * addresses.len(), "{questions} questions");
    let asked = ListParams::default().labels("sluice.dev/certificate=on-demand");
    assert_eq!(space.api::<Secret>().list(&asked).await.unwrap().items.len(), addresses.len());
}

/// Waits until both do; where each serves TLS.
async fn every_data_plane_serves(space: &Space, certificates: &[Vec<u8>]) -> [SocketAddr; 2] {
    let pods = gateway_pods(space, "edge").await;
    let ip = |pod: Pod| pod.status.unwrap().pod_ip.unwrap().parse::<IpAddr>().unwrap();
    let places: Vec<_> = pods.into_iter().map(|pod| SocketAddr::new(ip(pod), 10_443)).collect();
    for place in &places {
        for (host, certificate) in HOSTS.iter().zip(certificates) {
            eventually(&format!("{host} at {place}"), async || {
                let found = shown(*place, host).await?;
                ensure!(found == *certificate, "another certificate");
                anyhow::Ok(())
            })
            .await;
        }
    }
    places.try_into().unwrap()
}

async fn no_challenge_is_left(space: &Space) {
    let secrets: Api<Secret> = Api::namespaced(space.client.clone(), SYSTEM);
    eventually("no challenge is left", async || {
        let left = secrets.list(&ListParams::default().labels("sluice.dev/acme=challenge")).await?.items;
        ensure!(left.is_empty(), "{} are left", left.len());
        anyhow::Ok(())
    })
    .await;
}

/// Listeners and the issuer say that all is well.
async fn conditions(space: &Space) {
    let api = kind(space, "Gateway");
    eventually("every listener is programmed", async || {
        let gateway = api.get("edge").await?;
        let listeners = gateway.data["status"]["listeners"].as_array().cloned().unwrap_or_default();
        let is_good = |it: &serde_json::Value| {
            let conditions = it["conditions"].as_array().into_iter().flatten();
            conditions.filter(|it| it["status"] == "True").count() >= 3
        };
        if listeners.len() == 4 && listeners.iter().all(is_good) {
            Ok(())
        } else {
            bail!("{:#}", gateway.data["status"])
        }
    })
    .await;
}

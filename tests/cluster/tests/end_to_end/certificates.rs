//! Certificates of a Gateway: two controllers of which one orders, two data planes which both answer, a real authority.

use super::stand::{alone, gateway_pods, kind};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use rustls_pki_types::ServerName;
use sluice_cluster_tests::{HOST, SYSTEM, Signal, Space, eventually};
use sluice_tests::acme::{KEY_NAME, Named, Pebble, PebbleOptions};
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

#[test]
fn each_challenge_gives_a_certificate_and_the_death_of_the_leader_costs_no_order() {
    alone(&["controller.replicas=2", "gateway.replicas=2"], async |space| {
        space.apply(GATEWAY).await;
        let address = address(&space).await;
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
        space.signal(&leader(&space).await, Signal::SIGKILL).unwrap();

        let mut certificates = Vec::new();
        for host in HOSTS {
            let what = format!("{host} is served");
            let certificate =
                eventually(&what, async || shown(SocketAddr::new(address, 443), host).await).await;
            certificates.push(certificate);
        }
        let said = pebble.said();
        assert_eq!((pebble.orders(), pebble.issued(), pebble.accounts()), (3, 3, 1), "{said}");
        every_data_plane_serves(&space, &certificates).await;
        let secrets =
            space.api::<Secret>().list(&ListParams::default().labels("sluice.dev/certificate")).await;
        assert_eq!(secrets.unwrap().items.len(), 3);
        no_challenge_is_left(&space).await;
        conditions(&space).await;
    });
}

async fn every_data_plane_serves(space: &Space, certificates: &[Vec<u8>]) {
    let pods = gateway_pods(space, "edge").await;
    assert_eq!(pods.len(), 2);
    for pod in pods {
        let ip: IpAddr = pod.status.unwrap().pod_ip.unwrap().parse().unwrap();
        for (host, certificate) in HOSTS.iter().zip(certificates) {
            eventually(&format!("{host} at {ip}"), async || {
                let found = shown(SocketAddr::new(ip, 10_443), host).await?;
                ensure!(found == *certificate, "another certificate");
                anyhow::Ok(())
            })
            .await;
        }
    }
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

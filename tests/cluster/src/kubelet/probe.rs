//! Asks a container whether it is well.

use anyhow::{Context, Result, bail};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sluice_tests::{Ask, Wire, tls};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Asks as often as a probe says, but never rarer than this while it matters how soon a test goes on.
const OFTEN: Duration = Duration::from_millis(200);

/// Runs a command in the container that is asked.
pub(crate) type Exec<'a> = dyn Fn(Vec<String>, Duration) -> BoxFuture<'a, Result<()>> + Send + Sync + 'a;

/// Asks once. An error is the reason of a no.
pub(crate) async fn ask(
    probe: &Probe,
    container: &Container,
    address: Ipv4Addr,
    exec: &Exec<'_>,
) -> Result<()> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1));
    timeout(limit, ask_now(probe, container, address, exec, limit)).await.context("no answer in time")?
}

/// The time between two questions.
pub(crate) fn period(probe: &Probe, well: bool) -> Duration {
    let period = Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10));
    if well { period.min(Duration::from_secs(1)) } else { period.min(OFTEN) }
}

async fn ask_now(
    probe: &Probe,
    container: &Container,
    address: Ipv4Addr,
    exec: &Exec<'_>,
    limit: Duration,
) -> Result<()> {
    if let Some(get) = &probe.http_get {
        return http_get(get, container, address).await;
    }
    if let Some(socket) = &probe.tcp_socket {
        TcpStream::connect((address, port(&socket.port, container)?)).await?;
        return Ok(());
    }
    if let Some(grpc) = &probe.grpc {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}:{}", grpc.port))?;
        let request = HealthCheckRequest { service: grpc.service.clone().unwrap_or_default() };
        let answer = HealthClient::new(endpoint.connect().await?).check(request).await?;
        if answer.get_ref().status() != ServingStatus::Serving {
            bail!("{:?}", answer.get_ref().status());
        }
        return Ok(());
    }
    if let Some(ExecAction { command: Some(command) }) = &probe.exec {
        return exec(command.clone(), limit).await;
    }
    bail!("a probe of no known kind")
}

/// One GET as a kubelet sends it: any certificate is fine.
pub(crate) async fn http_get(get: &HTTPGetAction, container: &Container, address: Ipv4Addr) -> Result<()> {
    let host = get.host.as_deref().filter(|it| !it.is_empty()).map_or(Ok(address), str::parse)?;
    let to = SocketAddr::from((host, port(&get.port, container)?));
    let url = format!("http://{to}{}", get.path.as_deref().unwrap_or("/"));
    let mut ask = Ask::get(&url).header("user-agent", "kube-probe/1.36");
    for header in get.http_headers.iter().flatten() {
        ask = ask.header(&header.name, &header.value);
    }
    let mut wire = match get.scheme.as_deref() {
        Some("HTTPS") => {
            let connector = TlsConnector::from(Arc::new(tls::trusting(&["http/1.1"])));
            let stream = connector.connect("localhost".try_into()?, TcpStream::connect(to).await?).await?;
            Wire::over(Box::new(stream))
        }
        _ => Wire::over(Box::new(TcpStream::connect(to).await?)),
    };
    wire.try_send(&ask.to_http1()).await?;
    let answer = wire.read(false).await.ok().context("no answer")?;
    if !(200..400).contains(&answer.status) {
        bail!("HTTP probe failed with statuscode: {}", answer.status);
    }
    Ok(())
}

fn port(port: &IntOrString, container: &Container) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name));
            named.with_context(|| format!("no port is named {name}"))?.container_port
        }
    };
    Ok(u16::try_from(number)?)
}

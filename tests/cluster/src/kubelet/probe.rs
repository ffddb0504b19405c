//! Asks a container whether it is well.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sluice_tests::{Ask, Wire};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Asks as often as a probe says, but never rarer than this while it matters how soon a test goes on.
const OFTEN: Duration = Duration::from_millis(200);

/// Asks once. An error is the reason of a no.
pub(crate) async fn ask(probe: &Probe, container: &Container, address: Ipv4Addr) -> Result<()> {
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1));
    timeout(limit, ask_now(probe, container, address)).await.context("no answer in time")?
}

/// The time between two questions.
pub(crate) fn period(probe: &Probe, well: bool) -> Duration {
    let period = Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10));
    if well { period.min(Duration::from_secs(1)) } else { period.min(OFTEN) }
}

async fn ask_now(probe: &Probe, container: &Container, address: Ipv4Addr) -> Result<()> {
    if let Some(get) = &probe.http_get {
        let to = SocketAddr::from((address, port(&get.port, container)?));
        let url = format!("http://{to}{}", get.path.as_deref().unwrap_or("/"));
        let mut wire = Wire::over(Box::new(TcpStream::connect(to).await?));
        wire.try_send(&Ask::get(&url).to_http1()).await?;
        let answer = wire.read(false).await.ok().context("no answer")?;
        if !(200..400).contains(&answer.status) {
            bail!("HTTP probe failed with statuscode: {}", answer.status);
        }
        return Ok(());
    }
    if let Some(socket) = &probe.tcp_socket {
        TcpStream::connect((address, port(&socket.port, container)?)).await?;
        return Ok(());
    }
    bail!("only httpGet and tcpSocket probes are known")
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

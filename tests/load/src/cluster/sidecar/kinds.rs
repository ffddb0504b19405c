//! What else than requests of HTTP/1.1 costs a pair of sidecars: requests of HTTP/2, calls of gRPC, and a connection that they
//! carry whole, with requests that they do not read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use sluice_cluster_tests::Space;
use tokio::process::Command;

use super::load::Asked;
use super::objects::ALLOWED;
use super::pair::usage;
use super::pod::entered;
use super::stand::Stand;
use super::{BODY_BYTES, CONNECTIONS, SERVER, TCP_SERVICE_PORT};
use crate::cluster::Options;
use crate::cluster::figure::{Figure, percentile};
use crate::generator::Target;
use crate::h2load;

/// A load before the first round of a kind.
const WARM_UP: Duration = Duration::from_secs(2);
/// A message of gRPC: not compressed, three bytes.
const MESSAGE: &[u8] = &[0, 0, 0, 0, 3, 1, 2, 3];

/// What is asked.
#[derive(Clone, Copy)]
enum Kind {
    Http2,
    Grpc,
    Whole,
}

/// CPU time per request of each sidecar, by kind: medians of the rounds.
pub(in crate::cluster) async fn measure(space: Space, options: &Options) -> Result<Vec<Figure>> {
    let stand = Stand::start(space, options).await?;
    stand.until_enforced().await?;
    let message = stand.file("message");
    std::fs::write(&message, MESSAGE)?;
    let kinds = [("HTTP/2", Kind::Http2), ("gRPC", Kind::Grpc), ("carried whole", Kind::Whole)];
    let sidecars = [("client's sidecar", &stand.client.sidecar), ("server's sidecar", &stand.server.sidecar)];
    let processes = sidecars.map(|(_, it)| it);
    let time = Duration::from_secs(options.round_seconds);
    let mut spent = kinds.map(|_| [Vec::new(), Vec::new()]);
    for (_, kind) in kinds {
        ask(&stand, kind, options.rate, WARM_UP, &message).await?;
    }
    for _ in 0..options.rounds {
        for ((_, kind), spent) in kinds.iter().zip(&mut spent) {
            let before = usage(&processes)?;
            let requests = ask(&stand, *kind, options.rate, time, &message).await?;
            for ((spent, before), after) in spent.iter_mut().zip(before).zip(usage(&processes)?) {
                spent.push((after.0 - before.0) * 1e6 / requests as f64);
            }
        }
    }
    let mut figures = Vec::new();
    for ((kind, _), spent) in kinds.iter().zip(&mut spent) {
        for ((whose, _), spent) in sidecars.iter().zip(spent) {
            figures.push(Figure::new(format!("{whose}, {kind}: CPU"), percentile(spent, 0.5), "µs/request"));
        }
    }
    stand.end().await?;
    Ok(figures)
}

/// Asks for a time; how many were answered. A failed one is an error.
async fn ask(stand: &Stand, kind: Kind, rate: u32, time: Duration, message: &Path) -> Result<u64> {
    let service = stand.service.address;
    if matches!(kind, Kind::Whole) {
        let target = Target::plain((service.ip(), TCP_SERVICE_PORT).into());
        let network = stand.client.network.clone();
        let asked = Asked { network, targets: vec![target], request: stand.request(), rate };
        return Ok(asked.run(time).await?.first().context("one target")?.answered());
    }
    let mut command = Command::from(entered(&stand.client.network));
    command.args(["h2load", "-c", &CONNECTIONS.to_string(), "-m", "1"]);
    command.arg(format!("--rps={}", f64::from(rate) / CONNECTIONS as f64));
    command.arg(format!("--connect-to={service}"));
    if matches!(kind, Kind::Grpc) {
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(message);
    }
    command.arg(format!("http://{SERVER}{ALLOWED}/1"));
    let requests = (u64::from(rate) * time.as_secs()).max(CONNECTIONS as u64);
    let tally = h2load::send(command, "h2c", requests, BODY_BYTES, &stand.file("h2load.log")).await?;
    anyhow::ensure!(tally.failed() == 0, "{} failed: {:?}", tally.failed(), tally.failures());
    Ok(tally.answered())
}

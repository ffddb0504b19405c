//! `sluice-load cluster`: what controller, gateway and sidecars do against a real Kubernetes API server.
//!
//! Each scenario starts a cluster in a network of its own (etcd, kube-apiserver, kube-controller-manager), one
//! controller and one gateway or two sidecars as processes, and says what it saw, each figure beside its goal. A scenario fails when a
//! request fails or something never comes; it does not fail because a goal was missed: a machine may be slow.
//! Not here: provisioning, which the tests of `tests/cluster` show; the gateway runs as one that the controller does not
//! manage, so that its memory and CPU time can be read.

mod attach;
mod chaos;
mod churn;
mod controller;
mod endpoints;
mod figure;
mod listener_sets;
mod objects;
mod propagation;
mod rolling;
mod sidecar;
mod stand;

use std::path::PathBuf;

use anyhow::{Result, bail};
use sluice_cluster_tests::own;
use tokio::task::LocalSet;

use figure::Figure;
use sidecar::{kinds, pair, policy, rotation, services};
use stand::Stand;

/// Arguments of `sluice-load cluster`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(required = true, value_enum)]
    scenarios: Vec<Scenario>,
    /// Routes that are there already in `propagation` and `churn`; the goals are for 3,000 and 5,000.
    #[arg(long)]
    routes: Option<u32>,
    /// New routes of `propagation`, ends of the controller in `chaos`, changes of the policy in `sidecar-policy`.
    #[arg(long, default_value_t = 100)]
    changes: u32,
    /// Length of `churn`, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// ListenerSets of `listener-sets`, with 16 routes each.
    #[arg(long, default_value_t = 2_500)]
    sets: u32,
    /// Services of `sidecar-services`.
    #[arg(long, default_value_t = 5_000)]
    services: u32,
    /// Rounds of `sidecar-pair`, each with sidecars and without, and of `sidecar-kinds`, each with every kind.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of each half of such a round, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    round_seconds: u64,
    /// Requests a second of `sidecar-pair`, `sidecar-kinds` and `sidecar-rotation`; the goals are for 1,000.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The controller.
    #[arg(long, default_value = "target/release/sluice-controller")]
    controller: PathBuf,
    /// The gateway.
    #[arg(long, default_value = "target/release/sluice-gateway")]
    gateway: PathBuf,
    /// The sidecar.
    #[arg(long, default_value = "target/sidecar/sluice-sidecar")]
    sidecar: PathBuf,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Scenario {
    /// From a new HTTPRoute to its first answer, among thousands, idle.
    Propagation,
    /// The same while routes and endpoints change.
    PropagationChurn,
    /// 1,000 routes on one Gateway: when attachedRoutes is right, and how often the Gateway's status is written.
    Attach,
    /// Memory and CPU of both with 5,000 routes, of which some change.
    Churn,
    /// Memory of a gateway with 2,500 ListenerSets.
    ListenerSets,
    /// 100 endpoints are replaced under load.
    Rolling,
    /// The controller is killed, the API server stops, its history is lost, the gateway restarts: under load.
    Chaos,
    /// Two sidecars at 1,000 requests/s with mutual TLS and policies: memory, CPU, and what they add to latency.
    SidecarPair,
    /// CPU time of two sidecars for requests of HTTP/2, calls of gRPC, and requests that are carried as bytes.
    SidecarKinds,
    /// Memory of a sidecar whose workload calls 3 of 5,000 Services.
    SidecarServices,
    /// From a changed AuthorizationPolicy to the first request that is judged by it.
    SidecarPolicy,
    /// Roots and certificates of the mesh are replaced under load.
    SidecarRotation,
}

/// Measures everything that was asked for, each scenario in a cluster of its own.
pub(crate) fn run(options: Options) -> Result<()> {
    let mut failed = Vec::new();
    for scenario in options.scenarios.clone() {
        let name = format!("{scenario:?}");
        println!("\n{name}");
        let (options, mut outcome) = (options.clone(), None);
        own(async |space| {
            let measured = LocalSet::new().run_until(measure(scenario, space, &options)).await;
            outcome = Some(measured);
        });
        match outcome {
            Some(Ok(figures)) => figures.iter().for_each(|figure| println!("  {figure}")),
            Some(Err(error)) => failed.push(format!("{name}: {error:#}")),
            None => failed.push(format!("{name}: no outcome")),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

async fn measure(
    scenario: Scenario,
    space: sluice_cluster_tests::Space,
    options: &Options,
) -> Result<Vec<Figure>> {
    let routes = |usual| options.routes.unwrap_or(usual);
    let stand = async |space| Stand::start(space, options).await;
    match scenario {
        Scenario::Propagation => {
            propagation::measure(&stand(space).await?, routes(3_000), options.changes, false).await
        }
        Scenario::PropagationChurn => {
            propagation::measure(&stand(space).await?, routes(3_000), options.changes, true).await
        }
        Scenario::Attach => attach::measure(&stand(space).await?).await,
        Scenario::Churn => churn::measure(&stand(space).await?, routes(5_000), options.seconds).await,
        Scenario::ListenerSets => listener_sets::measure(&stand(space).await?, options.sets).await,
        Scenario::Rolling => rolling::measure(&stand(space).await?).await,
        Scenario::Chaos => chaos::measure(&mut stand(space).await?, options.changes).await,
        Scenario::SidecarPair => pair::measure(space, options).await,
        Scenario::SidecarKinds => kinds::measure(space, options).await,
        Scenario::SidecarServices => services::measure(space, options).await,
        Scenario::SidecarPolicy => policy::measure(space, options).await,
        Scenario::SidecarRotation => rotation::measure(space, options).await,
    }
}

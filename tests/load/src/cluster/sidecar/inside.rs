//! Work in the network of a pod: on a thread of its own, since a socket belongs to the network of the thread that made it.

use anyhow::{Context, Result};
use sluice_cluster_tests::Network;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Runs `job` in a network, on a `LocalSet` of its own, and gives what it made of it.
pub(super) async fn inside<T: Send + 'static>(
    network: &Network,
    job: impl AsyncFnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    start_inside(network, job).await.context("the thread of a pod ended early")?
}

/// Starts `job` there and does not wait.
pub(super) fn start_inside<T: Send + 'static>(
    network: &Network,
    job: impl AsyncFnOnce() -> Result<T> + Send + 'static,
) -> oneshot::Receiver<Result<T>> {
    let (tell, told) = oneshot::channel();
    let network = network.clone();
    std::thread::spawn(move || {
        let run = || {
            network.enter()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, job())
        };
        // Nobody waits for it any more when the scenario has failed.
        let _ = tell.send(run());
    });
    told
}

//! A load from within a pod's network: kept connections, a fixed rate, every answer judged.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use sluice_cluster_tests::Network;
use tokio::sync::oneshot;

use super::inside::{inside, start_inside};
use super::{BODY_BYTES, CONNECTIONS};
use crate::generator::{Load, Pace, Plan, Tally, Target, Until};

/// How long the last requests may take.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What is asked for, by whom, and how often.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) network: Network,
    pub(super) targets: Vec<Target>,
    pub(super) request: Bytes,
    /// Requests a second to each target.
    pub(super) rate: u32,
}

impl Asked {
    fn plans(&self, until: Until) -> Vec<Plan> {
        let plan = |target: &Target| Plan {
            target: target.clone(),
            requests: Rc::new([self.request.clone()]),
            body_bytes: BODY_BYTES,
            connections: CONNECTIONS,
            pace: Pace::PerSecond(self.rate),
            until,
            reconnect: false,
            server_names: None,
            may_refuse: false,
        };
        self.targets.iter().map(plan).collect()
    }

    /// Asks for a time; what each target answered. A failed request is an error.
    pub(super) async fn run(self, time: Duration) -> Result<Vec<Tally>> {
        let network = self.network.clone();
        let tallies = inside(&network, async move || {
            Ok(futures::future::join_all(self.plans(Until::Elapsed(time)).into_iter().map(Load::run)).await)
        });
        judged(tallies.await?)
    }

    /// Asks until it is told to end.
    pub(super) fn start(self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let network = self.network.clone();
        let tallies = start_inside(&network, async move || {
            let loads: Vec<Load> = self.plans(Until::Told).into_iter().map(Load::start).collect();
            let _ = stopped.await;
            loads.iter().for_each(Load::stop);
            Ok(futures::future::join_all(loads.into_iter().map(|load| load.finish(LAST_ANSWERS))).await)
        });
        Running { stop, tallies }
    }
}

/// A load that runs.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    tallies: oneshot::Receiver<Result<Vec<Tally>>>,
}

impl Running {
    /// Ends it; what each target answered. A failed request is an error.
    pub(super) async fn finish(self) -> Result<Vec<Tally>> {
        // It has ended already when nobody listens.
        let _ = self.stop.send(());
        judged(self.tallies.await.context("the thread of the load ended early")??)
    }
}

fn judged(tallies: Vec<Tally>) -> Result<Vec<Tally>> {
    for tally in &tallies {
        if tally.failed() > 0 || tally.answered() == 0 {
            bail!("{} failed, {} answered: {:?}", tally.failed(), tally.answered(), tally.failures());
        }
    }
    Ok(tallies)
}

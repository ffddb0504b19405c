//! One container: started, probed, started again when it ends, and ended when its pod is told to.

use super::Kubelet;
use super::probe;
use super::sandbox::Sandbox;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The first pause before a restart; it doubles up to [`LONGEST_PAUSE`]. A tenth of a real kubelet's or less: tests wait.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Since when its process runs.
    pub(crate) running: Option<Timestamp>,
    /// Its readiness probe says yes.
    pub(crate) ready: bool,
    /// Starts after the first.
    pub(crate) restarts: i32,
    /// Why it waits: reason and message.
    pub(crate) waiting: Option<(&'static str, String)>,
    /// Exit code of the last process.
    pub(crate) exit: Option<i32>,
    /// It will not start again.
    pub(crate) over: bool,
}

/// What a container's supervisor works with.
pub(crate) struct Supervisor {
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) index: usize,
    pub(crate) states: mpsc::UnboundedSender<(usize, State)>,
    pub(crate) stop: watch::Receiver<Option<Duration>>,
}

impl Supervisor {
    /// Keeps the container running until its pod is told to end.
    pub(crate) async fn run(mut self) {
        let mut state = State::default();
        let mut pause = PAUSE;
        while self.stop.borrow().is_none() {
            match self.start().await {
                Ok(child) => {
                    state = State { running: Some(Timestamp::now()), waiting: None, ..state };
                    self.attend(child, &mut state).await;
                }
                Err(reason) => state.waiting = Some(("CreateContainerError", format!("{reason:#}"))),
            }
            if !self.starts_again(&state) || self.stop.borrow().is_some() {
                break;
            }
            if state.waiting.is_none() {
                state.waiting = Some(("CrashLoopBackOff", format!("waits {pause:?}; {}", self.last_words())));
                state.restarts += 1;
            }
            self.say(&state);
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.stop.changed() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.say(&State { over: true, waiting: None, ..state });
    }

    fn container(&self) -> &Container {
        &self.pod.spec.as_ref().expect("a bound pod has a spec").containers[self.index]
    }

    async fn start(&self) -> anyhow::Result<Child> {
        let container = self.container();
        let mut child =
            self.sandbox.start(&self.kubelet.client, &self.kubelet.assets, &self.pod, container).await?;
        let namespace = self.pod.namespace().unwrap_or_default();
        let log = self.kubelet.logs.of(&namespace, &self.pod.name_any(), &container.name);
        if let Some(stream) = child.stdout.take() {
            log.collect(stream);
        }
        if let Some(stream) = child.stderr.take() {
            log.collect(stream);
        }
        Ok(child)
    }

    /// From the start of the process to its end.
    async fn attend(&self, mut child: Child, state: &mut State) {
        self.note(child.id());
        let unwell = Arc::new(Notify::new());
        let (ready, mut readiness) = watch::channel(self.container().readiness_probe.is_none());
        let mut probes = JoinSet::new();
        probes.spawn(keep_asking(self.container().clone(), self.sandbox.address, ready, unwell.clone()));
        let mut stop = self.stop.clone();
        let status = loop {
            state.ready = *readiness.borrow_and_update();
            self.say(state);
            tokio::select! {
                status = child.wait() => break status,
                changed = readiness.changed() => if changed.is_err() { break child.wait().await },
                () = unwell.notified() => break self.end(&mut child, self.grace()).await,
                grace = told_to_end(&mut stop) => break self.end(&mut child, grace).await,
            }
        };
        probes.abort_all();
        self.note(None);
        let code =
            |status: std::process::ExitStatus| status.code().or(status.signal().map(|signal| 128 + signal));
        *state = State {
            running: None,
            ready: false,
            exit: Some(status.ok().and_then(code).unwrap_or(-1)),
            ..state.clone()
        };
    }

    /// The hook before the end, SIGTERM, and SIGKILL when the time is up.
    async fn end(&self, child: &mut Child, grace: Duration) -> std::io::Result<std::process::ExitStatus> {
        let gently = async {
            let hook = self.container().lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
            if let Some(pause) = hook.and_then(|hook| hook.sleep.as_ref()) {
                sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
            }
            if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
            child.wait().await
        };
        if let Ok(status) = timeout(grace, gently).await {
            return status;
        }
        child.kill().await?;
        child.wait().await
    }

    fn grace(&self) -> Duration {
        let seconds =
            self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(30))
    }

    fn starts_again(&self, state: &State) -> bool {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        match policy {
            Some("Never") => state.exit.is_none(),
            Some("OnFailure") => state.exit != Some(0),
            _ => true,
        }
    }

    fn note(&self, process: Option<u32>) {
        if self.index == 0 {
            self.kubelet.processes.note(&self.pod.uid().unwrap_or_default(), process);
        }
    }

    fn last_words(&self) -> String {
        let namespace = self.pod.namespace().unwrap_or_default();
        let text = self.kubelet.logs.of_pod(&namespace, &self.pod.name_any());
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }

    fn say(&self, state: &State) {
        let _ = self.states.send((self.index, state.clone()));
    }
}

/// Waits until the pod is told to end, and says how long it has. At once when nobody is left who could say so.
async fn told_to_end(stop: &mut watch::Receiver<Option<Duration>>) -> Duration {
    stop.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
}

/// Asks the probes of a container until it is aborted: first startup, then readiness and liveness side by side.
async fn keep_asking(
    container: Container,
    address: Ipv4Addr,
    ready: watch::Sender<bool>,
    unwell: Arc<Notify>,
) {
    if let Some(probe) = &container.startup_probe {
        let mut failures = 0;
        while probe::ask(probe, &container, address).await.is_err() {
            failures += 1;
            if failures >= probe.failure_threshold.unwrap_or(3).max(3) * 10 {
                unwell.notify_one();
                return;
            }
            sleep(probe::period(probe, false)).await;
        }
    }
    let readiness = async {
        if let Some(probe) = &container.readiness_probe {
            ask_for_readiness(probe, &container, address, &ready).await;
        }
        std::future::pending::<()>().await;
    };
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            ask_for_life(probe, &container, address).await;
            unwell.notify_one();
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(readiness, liveness);
}

async fn ask_for_readiness(
    probe: &Probe,
    container: &Container,
    address: Ipv4Addr,
    ready: &watch::Sender<bool>,
) {
    let mut failures = 0;
    loop {
        match probe::ask(probe, container, address).await {
            Ok(()) => {
                failures = 0;
                ready.send_if_modified(|ready| !std::mem::replace(ready, true));
            }
            Err(_) => {
                failures += 1;
                if failures >= probe.failure_threshold.unwrap_or(3) {
                    ready.send_if_modified(|ready| std::mem::replace(ready, false));
                }
            }
        }
        let well = *ready.borrow();
        sleep(probe::period(probe, well)).await;
    }
}

/// Returns when the container has been unwell too often in a row.
async fn ask_for_life(probe: &Probe, container: &Container, address: Ipv4Addr) {
    let mut failures = 0;
    sleep(Duration::from_secs(u64::try_from(probe.initial_delay_seconds.unwrap_or(0).max(1)).unwrap_or(1)))
        .await;
    while failures < probe.failure_threshold.unwrap_or(3) {
        failures = if probe::ask(probe, container, address).await.is_ok() { 0 } else { failures + 1 };
        sleep(Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10))).await;
    }
}

//! One container: started, probed, started again when it ends, and ended when its pod is told to.

use super::probe;
use super::roles::Role;
use super::sandbox::{Sandbox, User};
use super::{Kubelet, exec, fields, images};
use anyhow::{Context, Result};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Pod, Probe};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
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
    /// Its startup probe has said yes.
    pub(crate) started: bool,
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

impl State {
    fn has_started(&self) -> bool {
        self.running.is_some() && self.started
    }
}

/// What a container's supervisor works with.
#[derive(Clone)]
pub(crate) struct Supervisor {
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) role: Role,
    pub(crate) container: Arc<Container>,
    pub(crate) index: usize,
    pub(crate) states: mpsc::UnboundedSender<(usize, State)>,
    /// Says that the pod has to end.
    pub(crate) stop: watch::Receiver<Option<Duration>>,
    /// Says that the app has ended, for good: then sidecars end too.
    pub(crate) app_over: watch::Receiver<bool>,
}

/// What the probes of a running container have said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Health {
    started: bool,
    ready: bool,
}

impl Supervisor {
    /// Keeps the container running until it has to end; returns how it was last.
    pub(crate) async fn run(self) -> State {
        let mut state = State::default();
        let mut pause = PAUSE;
        while !self.has_to_end() {
            match self.start().await {
                Ok(child) => {
                    state = State { running: Some(Timestamp::now()), waiting: None, ..state };
                    self.attend(child, &mut state).await;
                }
                Err(reason) => state.waiting = Some(("CreateContainerError", format!("{reason:#}"))),
            }
            if !self.starts_again(&state) || self.has_to_end() {
                break;
            }
            if state.waiting.is_none() {
                state.waiting = Some(("CrashLoopBackOff", format!("waits {pause:?}; {}", self.last_words())));
                state.restarts += 1;
            }
            self.say(&state);
            tokio::select! {
                () = sleep(pause) => {}
                _ = self.told_to_end() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        state = State { over: true, waiting: None, ..state };
        self.say(&state);
        state
    }

    /// [`Supervisor::run`], which also tells that the startup probe has said yes.
    pub(crate) async fn announcing(mut self, started: watch::Sender<bool>) -> State {
        let (states, mut seen) = mpsc::unbounded_channel();
        let outer = std::mem::replace(&mut self.states, states);
        let telling = async move {
            while let Some((index, state)) = seen.recv().await {
                if State::has_started(&state) {
                    started.send_replace(true);
                }
                let _ = outer.send((index, state));
            }
        };
        tokio::join!(self.run(), telling).0
    }

    async fn start(&self) -> Result<Child> {
        let container = &self.container;
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
        if let Some(process) = child.id() {
            let (user, variables) = self.inside().await?;
            let names = [namespace, self.pod.name_any(), container.name.clone()];
            self.kubelet.entries.note(names, process, &user, &variables);
        }
        Ok(child)
    }

    /// Who the container runs as, and its variables.
    async fn inside(&self) -> Result<(User, BTreeMap<String, String>)> {
        let image = images::find(&self.kubelet.assets, self.container.image.as_deref().unwrap_or_default())?;
        let user = User::of(&self.pod, &self.container, image.user)?;
        let (client, address) = (&self.kubelet.client, self.sandbox.address);
        Ok((user, fields::environment(client, &self.pod, &self.container, address).await?))
    }

    /// From the start of the process to its end.
    async fn attend(&self, mut child: Child, state: &mut State) {
        let process = child.id();
        self.note(process);
        let unwell = Arc::new(Notify::new());
        let (said, mut health) = watch::channel(Health::default());
        let mut tasks = JoinSet::new();
        let asking = self.clone();
        tasks.spawn({
            let unwell = unwell.clone();
            async move { asking.keep_asking(process, said, unwell).await }
        });
        let hook = self.hook(|it| it.post_start.as_ref());
        if let Some(hook) = hook {
            let hooked = self.clone();
            tasks.spawn(async move { hooked.follow(&hook, process).await });
        }
        let status = loop {
            let now = *health.borrow_and_update();
            (state.started, state.ready) = (now.started, now.ready);
            self.say(state);
            tokio::select! {
                status = child.wait() => break status,
                changed = health.changed() => if changed.is_err() { break child.wait().await },
                () = unwell.notified() => break self.end(&mut child, self.grace()).await,
                grace = self.told_to_end() => break self.end(&mut child, grace).await,
            }
        };
        tasks.abort_all();
        self.note(None);
        let code = |status: ExitStatus| status.code().or(status.signal().map(|signal| 128 + signal));
        *state = State {
            running: None,
            started: false,
            ready: false,
            exit: Some(status.ok().and_then(code).unwrap_or(-1)),
            ..state.clone()
        };
    }

    /// The hook before the end, the turn of a sidecar, SIGTERM, and SIGKILL when the time is up.
    async fn end(&self, child: &mut Child, grace: Duration) -> std::io::Result<ExitStatus> {
        let process = child.id();
        let gently = async {
            if let Some(hook) = self.hook(|it| it.pre_stop.as_ref()) {
                self.follow(&hook, process).await;
            }
            if self.role == Role::Sidecar {
                let mut app_over = self.app_over.clone();
                let _ = app_over.wait_for(|it| *it).await;
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

    fn hook(
        &self,
        of: impl Fn(&k8s_openapi::api::core::v1::Lifecycle) -> Option<&LifecycleHandler>,
    ) -> Option<LifecycleHandler> {
        self.container.lifecycle.as_ref().and_then(of).cloned()
    }

    /// Does what a hook says; what fails is in the log of the container.
    async fn follow(&self, hook: &LifecycleHandler, process: Option<u32>) {
        if let Some(pause) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
        }
        let done = if let Some(get) = &hook.http_get {
            probe::http_get(get, &self.container, self.sandbox.address).await
        } else if let Some(ExecAction { command: Some(command) }) = &hook.exec {
            self.exec(process, command.clone(), self.grace()).await
        } else {
            Ok(())
        };
        if let Err(error) = done {
            let namespace = self.pod.namespace().unwrap_or_default();
            let log = self.kubelet.logs.of(&namespace, &self.pod.name_any(), &self.container.name);
            log.push(format!("(kubelet) a hook failed: {error:#}"));
        }
    }

    /// Runs a command inside the container.
    async fn exec(&self, process: Option<u32>, command: Vec<String>, limit: Duration) -> Result<()> {
        let process = process.context("no process")?;
        let (user, variables) = self.inside().await?;
        exec::run(process, &user, &variables, &command, limit).await
    }

    fn grace(&self) -> Duration {
        let seconds =
            self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(30))
    }

    fn has_to_end(&self) -> bool {
        self.stop.borrow().is_some() || (self.role == Role::Sidecar && *self.app_over.borrow())
    }

    /// Waits until the container has to end, and says how long it has. At once when nobody is left who could say so.
    async fn told_to_end(&self) -> Duration {
        let (mut stop, mut app_over) = (self.stop.clone(), self.app_over.clone());
        let of_pod =
            async { stop.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default() };
        if self.role != Role::Sidecar {
            return of_pod.await;
        }
        tokio::select! {
            grace = of_pod => grace,
            _ = app_over.wait_for(|it| *it) => self.grace(),
        }
    }

    fn starts_again(&self, state: &State) -> bool {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        match (self.role, policy) {
            (Role::Sidecar, _) => true,
            (_, Some("Never")) => state.exit.is_none(),
            (Role::Init, _) | (Role::App, Some("OnFailure")) => state.exit != Some(0),
            (Role::App, _) => true,
        }
    }

    fn note(&self, process: Option<u32>) {
        let uid = self.pod.uid().unwrap_or_default();
        self.kubelet.processes.note(&uid, &self.container.name, process);
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

    /// Asks the probes until it is aborted: first startup, then readiness and liveness side by side.
    async fn keep_asking(&self, process: Option<u32>, said: watch::Sender<Health>, unwell: Arc<Notify>) {
        if let Some(probe) = &self.container.startup_probe {
            let mut failures = 0;
            while self.ask(probe, process).await.is_err() {
                failures += 1;
                if failures >= probe.failure_threshold.unwrap_or(3).max(3) * 10 {
                    unwell.notify_one();
                    return;
                }
                sleep(probe::period(probe, false)).await;
            }
        }
        said.send_replace(Health { started: true, ready: self.container.readiness_probe.is_none() });
        let readiness = async {
            if let Some(probe) = &self.container.readiness_probe {
                self.ask_for_readiness(probe, process, &said).await;
            }
            std::future::pending::<()>().await;
        };
        let liveness = async {
            if let Some(probe) = &self.container.liveness_probe {
                self.ask_for_life(probe, process).await;
                unwell.notify_one();
            }
            std::future::pending::<()>().await;
        };
        tokio::join!(readiness, liveness);
    }

    async fn ask(&self, probe: &Probe, process: Option<u32>) -> Result<()> {
        let exec = |command: Vec<String>, limit: Duration| self.exec(process, command, limit).boxed();
        probe::ask(probe, &self.container, self.sandbox.address, &exec).await
    }

    async fn ask_for_readiness(&self, probe: &Probe, process: Option<u32>, said: &watch::Sender<Health>) {
        let mut failures = 0;
        loop {
            match self.ask(probe, process).await {
                Ok(()) => {
                    failures = 0;
                    said.send_if_modified(|it| !std::mem::replace(&mut it.ready, true));
                }
                Err(_) => {
                    failures += 1;
                    if failures >= probe.failure_threshold.unwrap_or(3) {
                        said.send_if_modified(|it| std::mem::replace(&mut it.ready, false));
                    }
                }
            }
            let well = said.borrow().ready;
            sleep(probe::period(probe, well)).await;
        }
    }

    /// Returns when the container has been unwell too often in a row.
    async fn ask_for_life(&self, probe: &Probe, process: Option<u32>) {
        let mut failures = 0;
        let delay = u64::try_from(probe.initial_delay_seconds.unwrap_or(0).max(1)).unwrap_or(1);
        sleep(Duration::from_secs(delay)).await;
        while failures < probe.failure_threshold.unwrap_or(3) {
            failures = if self.ask(probe, process).await.is_ok() { 0 } else { failures + 1 };
            sleep(Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10))).await;
        }
    }
}

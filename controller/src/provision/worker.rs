//! The loop: keeps what Gateways run on as it should be, a few Gateways at a time, each by itself.

use super::addresses::{self, Known};
use super::kinds::OwnedKind;
use super::live::{Key, Live, Store};
use super::objects::{self, Common};
use super::requests::{self, Done, Failure, Probed};
use super::steps::{self, Applied, Step};
use super::watches::{self, News};
use super::{Inbox, ProvisionOptions};
use crate::names;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Client;
use sluice_crds::{ObjectRef, ServiceType};
use sluice_translate::{GatewayPlan, Infrastructure, Management, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Gateways that are worked on at once.
const AT_ONCE: usize = 8;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));
/// After so long without a failure or a fight the pauses begin anew.
const CALM: Duration = Duration::from_secs(300);
/// When an address that could not be had is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Does what a [`Provisioner`](super::Provisioner) is told. See [`Worker::run`].
pub struct Worker {
    client: Client,
    options: ProvisionOptions,
    inbox: Arc<Inbox>,
    facts: mpsc::Sender<(ObjectRef, Infrastructure)>,
    gateways: BTreeMap<ObjectRef, Standing>,
    live: Store,
    nodes: BTreeMap<String, Vec<String>>,
    needs_nodes: bool,
    /// Kinds that were not listed yet.
    awaited: BTreeSet<OwnedKind>,
    dirty: BTreeSet<ObjectRef>,
    running: BTreeSet<ObjectRef>,
    jobs: JoinSet<(ObjectRef, Outcome)>,
    is_complete: bool,
}

/// How it stands with a Gateway.
#[derive(Debug, Default)]
struct Standing {
    plan: Option<Box<GatewayPlan>>,
    applied: BTreeMap<Key, Applied>,
    /// What the server refused, of what a Gateway can't serve without.
    failure: Option<String>,
    /// Requested cluster IPs: whether they can be had.
    probed: BTreeMap<IpAddr, Result<(), String>>,
    told: Option<Infrastructure>,
    /// Failures, and fights with others over a field, that followed each other.
    troubles: u32,
    last_trouble: Option<Instant>,
    /// Not before.
    resume_at: Option<Instant>,
    /// Ask for refused addresses again.
    probe_at: Option<Instant>,
    /// The Gateway was looked at after it ceased to be ours.
    is_left: bool,
}

/// What came of a job.
#[derive(Debug)]
enum Outcome {
    Done(Vec<Done>),
    Probed(Result<Vec<Probed>, Failure>),
    Left(Result<Vec<Done>, Failure>),
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("gateways", &self.gateways.len()).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(
        client: Client,
        options: ProvisionOptions,
        inbox: Arc<Inbox>,
        facts: mpsc::Sender<(ObjectRef, Infrastructure)>,
    ) -> Self {
        Self {
            client,
            options,
            inbox,
            facts,
            gateways: BTreeMap::new(),
            live: Store::default(),
            nodes: BTreeMap::new(),
            needs_nodes: false,
            awaited: OwnedKind::ALL.into_iter().collect(),
            dirty: BTreeSet::new(),
            running: BTreeSet::new(),
            jobs: JoinSet::new(),
            is_complete: false,
        }
    }

    /// Works until `stop`; requests that are under way are then dropped, which leaves every object whole.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut news = watches::objects(&self.client);
        let mut nodes: BoxStream<'static, _> = futures::stream::pending().boxed();
        let mut watches_nodes = false;
        let (mut ca, mut is_leader) = (self.options.ca.clone(), self.options.is_leader.clone());
        let inbox = self.inbox.clone();
        loop {
            if self.needs_nodes && !watches_nodes {
                nodes = watches::nodes(&self.client);
                watches_nodes = true;
            }
            let wake = self.next_wake();
            tokio::select! {
                () = stop.cancelled() => break,
                () = inbox.arrived.notified() => {}
                Some(news) = news.next() => self.hear(news),
                Some(all) = nodes.next() => {
                    self.nodes = all;
                    self.look_at_all();
                }
                Ok(()) = ca.changed() => self.look_at_all(),
                Ok(()) = is_leader.changed() => self.look_at_all(),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    if let Ok((gateway, outcome)) = done {
                        self.take_outcome(&gateway, outcome);
                    }
                }
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.wake(),
            }
            self.take_plans();
            if self.awaited.is_empty() {
                self.work().await;
            }
        }
    }

    fn take_plans(&mut self) {
        let plans = std::mem::take(&mut *self.inbox.plans.lock());
        for (gateway, plan) in plans {
            self.needs_nodes |= plan.as_deref().is_some_and(addresses::needs_nodes);
            let standing = self.gateways.entry(gateway.clone()).or_default();
            if plan.is_none() {
                *standing = Standing::default();
            }
            standing.plan = plan;
            // Whoever changes something wants it tried now.
            standing.resume_at = None;
            standing.probed.clear();
            self.dirty.insert(gateway);
        }
        if !self.is_complete && self.inbox.is_complete.load(Ordering::Acquire) && self.awaited.is_empty() {
            self.is_complete = true;
            for gateway in self.live.gateways() {
                if !self.gateways.contains_key(gateway) {
                    self.gateways.insert(gateway.clone(), Standing::default());
                    self.dirty.insert(gateway.clone());
                }
            }
        }
    }

    fn hear(&mut self, news: News) {
        let touched = match news {
            News::Seen(live) => self.live.put(*live),
            News::Gone(key) => self.live.remove(&key),
            News::All(kind, all) => {
                let touched = self.live.replace(kind, all);
                if self.awaited.remove(&kind) && self.awaited.is_empty() {
                    self.look_at_all();
                }
                touched
            }
        };
        self.dirty.extend(touched);
    }

    fn look_at_all(&mut self) {
        self.dirty.extend(self.gateways.keys().cloned());
    }

    fn next_wake(&self) -> Option<Instant> {
        self.gateways.values().flat_map(|it| [it.resume_at, it.probe_at]).flatten().min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        for (gateway, standing) in &mut self.gateways {
            if standing.resume_at.is_some_and(|it| it <= now) {
                standing.resume_at = None;
                self.dirty.insert(gateway.clone());
            }
            if standing.probe_at.is_some_and(|it| it <= now) {
                standing.probe_at = None;
                standing.probed.retain(|_, outcome| outcome.is_ok());
                self.dirty.insert(gateway.clone());
            }
        }
    }

    /// Looks at every Gateway that something happened to.
    async fn work(&mut self) {
        let ready: Vec<ObjectRef> =
            self.dirty.iter().filter(|it| !self.running.contains(*it)).cloned().collect();
        for gateway in ready {
            if self.running.len() >= AT_ONCE {
                break;
            }
            self.dirty.remove(&gateway);
            self.look_at(&gateway);
            self.tell(&gateway).await;
        }
    }

    /// Starts what has to be done for a Gateway, if this replica is the one to do it.
    fn look_at(&mut self, gateway: &ObjectRef) {
        let is_leader = *self.options.is_leader.borrow();
        let ca = self.options.ca.borrow().clone();
        let Some(standing) = self.gateways.get_mut(gateway) else { return };
        let live = self.live.of(gateway);
        if standing.plan.is_none() && live.is_empty() {
            self.gateways.remove(gateway);
            return;
        }
        if !is_leader || standing.resume_at.is_some() {
            return;
        }
        let Some(plan) = &standing.plan else {
            if !standing.is_left {
                standing.is_left = true;
                let (client, name) = (self.client.clone(), gateway.clone());
                self.start(gateway, async move {
                    Outcome::Left(match requests::abandoned(&client, &name, live).await {
                        Ok(steps) => Ok(requests::carry_out(&client, steps).await),
                        Err(failure) => Err(failure),
                    })
                });
            }
            return;
        };
        if !plan.is_accepted || plan.uid.is_none() || ca.is_empty() {
            return;
        }
        let common =
            Common { image: self.options.image.clone(), controller: self.options.controller.clone(), ca };
        if let Management::Managed(workload) = &plan.management {
            let unknown = to_probe(plan, workload, &live, &standing.probed);
            if !unknown.is_empty() {
                let probes: Vec<_> =
                    unknown.into_iter().map(|it| (it, objects::probe(plan, &common, it))).collect();
                let (client, namespace) = (self.client.clone(), gateway.namespace.to_string());
                self.start(
                    gateway,
                    async move { Outcome::Probed(probe_all(&client, &namespace, probes).await) },
                );
                return;
            }
        }
        let usable = cluster_ips(plan, &live, &standing.probed);
        let desired = objects::desired(plan, &common, &usable);
        let difference = steps::difference(plan, desired, &live, &standing.applied);
        if difference.steps.is_empty() {
            standing.failure = None;
            return;
        }
        if difference.heals && !standing.may_heal() {
            return;
        }
        self.start_steps(gateway, difference.steps);
    }

    fn start_steps(&mut self, gateway: &ObjectRef, steps: Vec<Step>) {
        let client = self.client.clone();
        self.start(gateway, async move { Outcome::Done(requests::carry_out(&client, steps).await) });
    }

    fn start(&mut self, gateway: &ObjectRef, job: impl Future<Output = Outcome> + Send + 'static) {
        self.running.insert(gateway.clone());
        let gateway = gateway.clone();
        self.jobs.spawn(async move { (gateway, job.await) });
    }

    fn take_outcome(&mut self, gateway: &ObjectRef, outcome: Outcome) {
        self.running.remove(gateway);
        self.dirty.insert(gateway.clone());
        match outcome {
            Outcome::Done(all) => self.take_done(gateway, all),
            Outcome::Probed(Ok(probed)) => {
                let Some(standing) = self.gateways.get_mut(gateway) else { return };
                if probed.iter().any(|it| it.1.is_err()) {
                    standing.probe_at = Some(Instant::now() + ASK_AGAIN);
                }
                standing.probed.extend(probed);
            }
            Outcome::Left(Ok(all)) => self.take_done(gateway, all),
            Outcome::Left(Err(failure)) => {
                if let Some(standing) = self.gateways.get_mut(gateway) {
                    standing.is_left = false;
                    standing.fail(gateway, vec![failure]);
                }
            }
            Outcome::Probed(Err(failure)) => {
                if let Some(standing) = self.gateways.get_mut(gateway) {
                    standing.fail(gateway, vec![failure]);
                }
            }
        }
    }

    fn take_done(&mut self, gateway: &ObjectRef, all: Vec<Done>) {
        let mut failures = Vec::new();
        for done in all {
            match done {
                Done::Applied(live, applied) => {
                    if let Some(standing) = self.gateways.get_mut(gateway) {
                        standing.applied.insert(live.key(), applied);
                    }
                    self.dirty.extend(self.live.put(*live));
                }
                Done::Deleted(key) => {
                    if let Some(standing) = self.gateways.get_mut(gateway) {
                        standing.applied.remove(&key);
                    }
                    self.dirty.extend(self.live.remove(&key));
                }
                Done::Failed(failure) => failures.push(failure),
            }
        }
        let had = had(&self.live.of(gateway));
        let Some(standing) = self.gateways.get_mut(gateway) else { return };
        if failures.is_empty() {
            standing.failure = None;
            return;
        }
        if let Some(refusal) = failures.iter().find(|it| it.is_refused_service) {
            standing.refuse_addresses(&had, &refusal.message);
        }
        standing.fail(gateway, failures);
    }

    /// Tells the facts of a Gateway, if they differ.
    async fn tell(&mut self, gateway: &ObjectRef) {
        let Some(standing) = self.gateways.get_mut(gateway) else { return };
        let Some(plan) = &standing.plan else { return };
        let name = names::infrastructure(&gateway.name, &plan.class);
        let find = |kind| {
            self.live
                .get(&(kind, gateway.namespace.to_string(), name.clone()))
                .map(|it: &Arc<Live>| &it.value)
        };
        let refused = standing.probed.iter().filter_map(|(it, outcome)| Some((*it, outcome.clone().err()?)));
        let known = Known {
            service: find(OwnedKind::Service),
            deployment: find(OwnedKind::Deployment),
            nodes: &self.nodes,
            failure: standing.failure.as_deref(),
            refused: &refused.collect(),
        };
        let Some(facts) = addresses::facts(plan, &known) else { return };
        if standing.told.as_ref() == Some(&facts) {
            return;
        }
        addresses::told(gateway, &facts);
        standing.told = Some(facts.clone());
        // Nobody listens any more when all ends.
        let _ = self.facts.send((gateway.clone(), facts)).await;
    }
}

impl Standing {
    /// Notes failures and waits before the next try.
    fn fail(&mut self, gateway: &ObjectRef, failures: Vec<Failure>) {
        for failure in &failures {
            tracing::warn!(%gateway, message = failure.message, "what a Gateway runs on could not be made");
        }
        // A server that is away says nothing about the Gateway; one that refuses does.
        let told: Vec<String> =
            failures.into_iter().filter(|it| it.is_lasting && !it.is_optional).map(|it| it.message).collect();
        if !told.is_empty() {
            self.failure = Some(told.join("; "));
        }
        self.pause();
    }

    /// A Service that is refused may be so for the cluster IP that it asks for: it is made with another, and the
    /// requested one asked for again later. When it was for something else, that is refused too, and told.
    fn refuse_addresses(&mut self, had: &[IpAddr], message: &str) {
        let Some(plan) = &self.plan else { return };
        let is_inside = matches!(&plan.management, Management::Managed(it) if it.service.r#type == ServiceType::ClusterIP);
        for address in plan.addresses.iter().flatten().filter(|it| is_inside && !had.contains(it)) {
            self.probed.insert(*address, Err(message.to_owned()));
            self.probe_at = Some(Instant::now() + ASK_AGAIN);
        }
    }

    /// Whether to undo what somebody else did: at once the first time, later the oftener it happens, so that two
    /// controllers that want different things don't keep the API server busy.
    fn may_heal(&mut self) -> bool {
        let now = Instant::now();
        let step = PAUSES.0.saturating_mul(1 << self.troubles.min(8)).min(PAUSES.1);
        match self.last_trouble.filter(|last| now < *last + step && self.troubles > 0) {
            Some(last) => {
                self.resume_at = Some(last + step);
                false
            }
            None => {
                self.note_trouble(now);
                true
            }
        }
    }

    fn note_trouble(&mut self, now: Instant) {
        let is_calm = self.last_trouble.is_none_or(|it| now > it + CALM);
        self.troubles = if is_calm { 1 } else { self.troubles.saturating_add(1) };
        self.last_trouble = Some(now);
    }

    fn pause(&mut self) {
        let now = Instant::now();
        self.note_trouble(now);
        let step = PAUSES.0.saturating_mul(1 << (self.troubles - 1).min(8)).min(PAUSES.1);
        self.resume_at = Some(now + step.mul_f64(0.5 + rand::random::<f64>() / 2.0));
    }
}

/// Requested cluster IPs of which nobody knows yet whether they can be had, while a Service is there that would have to
/// be made anew for them. Without one they are just tried.
fn to_probe(
    plan: &GatewayPlan,
    workload: &Workload,
    live: &[Arc<Live>],
    probed: &BTreeMap<IpAddr, Result<(), String>>,
) -> Vec<IpAddr> {
    let is_there = live.iter().any(|it| it.kind == OwnedKind::Service);
    if workload.service.r#type != ServiceType::ClusterIP || plan.ports.is_empty() || !is_there {
        return Vec::new();
    }
    let has = |it: &IpAddr| had(live).contains(it);
    let wanted = plan.addresses.iter().flatten().copied();
    wanted.filter(|it| !has(it) && !probed.contains_key(it)).collect()
}

/// Requested cluster IPs that can be had, one of each family.
fn cluster_ips(
    plan: &GatewayPlan,
    live: &[Arc<Live>],
    probed: &BTreeMap<IpAddr, Result<(), String>>,
) -> Vec<IpAddr> {
    let had = had(live);
    let is_there = live.iter().any(|it| it.kind == OwnedKind::Service);
    let mut chosen: Vec<IpAddr> = Vec::new();
    for it in plan.addresses.iter().flatten() {
        let is_usable = had.contains(it) || probed.get(it).map_or(!is_there, Result::is_ok);
        if is_usable && !chosen.iter().any(|other| other.is_ipv4() == it.is_ipv4()) {
            chosen.push(*it);
        }
    }
    chosen
}

/// Cluster IPs that the Service has already.
fn had(live: &[Arc<Live>]) -> Vec<IpAddr> {
    let services = live.iter().filter(|it| it.kind == OwnedKind::Service);
    let texts = services.filter_map(|it| it.value.pointer("/spec/clusterIPs")?.as_array()).flatten();
    texts.filter_map(|it| it.as_str()?.parse().ok()).collect()
}

async fn probe_all(
    client: &Client,
    namespace: &str,
    probes: Vec<(IpAddr, serde_json::Value)>,
) -> Result<Vec<Probed>, Failure> {
    let mut all = Vec::with_capacity(probes.len());
    for (address, service) in probes {
        all.push((address, requests::probe(client, namespace, service).await?));
    }
    Ok(all)
}

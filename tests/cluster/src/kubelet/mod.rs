//! A kubelet without containers: it registers two nodes in two zones, takes the part of the scheduler, and runs the
//! pods of known images as real processes, each pod in a network namespace with an address of its own.
//!
//! It does what pods in tests need: init containers and native sidecars, probes, hooks, restarts, graceful ends, volumes
//! and bound tokens, users and rights, statuses, logs. It pulls no image, mounts no storage and sets no resource limits.

mod container;
mod exec;
mod fields;
mod images;
mod logs;
mod pod;
mod probe;
mod roles;
mod sandbox;
mod server;
mod status;
mod volumes;

pub(crate) use exec::Entries;
pub(crate) use images::binary;
pub(crate) use logs::Logs;

use crate::assets::Assets;
use crate::certificates::Certificates;
use crate::hosts::Hosts;
use crate::network::{HOST, Network};
use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The nodes and their zones.
const NODES: [(&str, &str); 2] = [("node-a", "zone-a"), ("node-b", "zone-b")];

/// What the pods of a kubelet share.
pub(crate) struct Kubelet {
    pub(crate) client: Client,
    pub(crate) assets: Assets,
    pub(crate) network: Network,
    /// Files of pods.
    pub(crate) folder: PathBuf,
    /// `/etc/hosts` of pods.
    pub(crate) hosts: Hosts,
    pub(crate) logs: Logs,
    pub(crate) addresses: Addresses,
    pub(crate) turn: AtomicU16,
    pub(crate) processes: Processes,
    pub(crate) entries: Entries,
}

/// Addresses of pods in 10.244.0.0/16. None is used twice before 65,000 pods.
pub(crate) struct Addresses(AtomicU16);

impl Default for Addresses {
    fn default() -> Self {
        Self(AtomicU16::new(0x0100))
    }
}

impl Addresses {
    pub(crate) fn next(&self) -> Ipv4Addr {
        let [c, d] = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        if d == 0 || d == 255 { self.next() } else { Ipv4Addr::new(10, 244, c, d) }
    }
}

/// A container's name and its process.
type Process = (String, u32);

/// The processes that run, by the uid of their pod and the name of their container.
#[derive(Clone, Default)]
pub(crate) struct Processes(Arc<Mutex<HashMap<String, Vec<Process>>>>);

impl Processes {
    /// The process of a container.
    pub(crate) fn of(&self, pod: &str, container: &str) -> Option<u32> {
        let processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        processes.get(pod)?.iter().find(|(name, _)| name == container).map(|(_, process)| *process)
    }

    pub(crate) fn note(&self, pod: &str, container: &str, process: Option<u32>) {
        let mut processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_pod = processes.entry(pod.to_owned()).or_default();
        of_pod.retain(|(name, _)| name != container);
        of_pod.extend(process.map(|process| (container.to_owned(), process)));
        if of_pod.is_empty() {
            processes.remove(pod);
        }
    }
}

/// How long a pod has from being told to end; `None`: it lives on.
type Stop = watch::Sender<Option<Duration>>;

impl Kubelet {
    /// Registers the nodes and runs pods until the runtime ends.
    pub(crate) async fn start(self: Arc<Self>, certificates: &Certificates) -> Result<()> {
        let (certificate, key) = (certificates.file("server.crt"), certificates.file("server.key"));
        server::serve(self.logs.clone(), self.entries.clone(), &certificate, &key).await?;
        tokio::spawn(exec::serve(self.assets.backend("exec")));
        for (name, zone) in NODES {
            self.register(name, zone).await?;
        }
        tokio::spawn(async move { self.watch().await });
        Ok(())
    }

    async fn register(&self, name: &str, zone: &str) -> Result<()> {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = json!({"metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "region",
        }}});
        api.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
        let status = json!({"status": {
            "capacity": capacity, "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": HOST}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": server::PORT}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        }});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(())
    }

    async fn watch(self: Arc<Self>) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = pin!(watch_objects(pods, watcher::Config::default()).default_backoff());
        let mut running: HashMap<String, Stop> = HashMap::new();
        let mut seen = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => seen.clear(),
                Ok(Event::InitApply(pod)) => {
                    seen.extend(pod.uid());
                    self.apply(pod, &mut running);
                }
                Ok(Event::Apply(pod)) => self.apply(pod, &mut running),
                Ok(Event::InitDone) => {
                    running.retain(|uid, stop| {
                        seen.contains(uid) || stop.send(Some(Duration::ZERO)).is_ok_and(|()| false)
                    });
                }
                Ok(Event::Delete(pod)) => {
                    if let Some(stop) = pod.uid().and_then(|uid| running.remove(&uid)) {
                        let _ = stop.send(Some(Duration::ZERO));
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn apply(self: &Arc<Self>, pod: Pod, running: &mut HashMap<String, Stop>) {
        let Some(uid) = pod.uid() else { return };
        let ending = pod.metadata.deletion_timestamp.is_some();
        let known = running.get(&uid);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if node.is_some_and(|node| NODES.iter().all(|(name, _)| *name != node)) {
            // Whoever made that node is its kubelet.
            return;
        }
        if node.is_none() {
            if !ending {
                let node = NODES[usize::from(self.turn.fetch_add(1, Ordering::Relaxed)) % NODES.len()].0;
                tokio::spawn(bind(self.client.clone(), pod, node));
            }
        } else if let Some(stop) = known {
            if ending && stop.borrow().is_none() {
                let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
                let _ = stop.send(Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))));
            }
        } else {
            let (stop, stopped) = watch::channel(ending.then_some(Duration::ZERO));
            running.insert(uid, stop);
            tokio::spawn(pod::live(self.clone(), pod, stopped));
        }
    }
}

/// Gives a pod a node, as the scheduler does: turn by turn.
async fn bind(client: Client, pod: Pod, node: &'static str) {
    let namespace = pod.namespace().unwrap_or_default();
    let body = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    // Bound already: a second event came before the first binding was seen.
    let _: Result<serde_json::Value, _> =
        api.create_subresource("binding", &pod.name_any(), &PostParams::default(), &body).await;
}

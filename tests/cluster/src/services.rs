//! Services without kube-proxy: every cluster address, load balancer address and node port is a socket in the cluster's
//! network whose connections go to a ready endpoint, taken from the EndpointSlices that the real controller writes.
//!
//! Services that another proxy is to serve (`service.kubernetes.io/service-proxy-name`) are left alone. A Service of type
//! LoadBalancer gets an address of 10.97.0.0/16, or the one it asks for there. Names of Services are
//! kept in `/etc/hosts` of every pod.

mod forward;

use crate::hosts::Hosts;
use crate::network::HOST;
use anyhow::Result;
use forward::Forward;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;

const POOL: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 0);
const SLICE_OF: &str = "kubernetes.io/service-name";
/// Services and slices with this label are another proxy's to serve; kube-proxy passes them over, too.
const OURS: &str = "!service.kubernetes.io/service-proxy-name";

/// Namespace and name.
type Key = (String, String);

/// Follows Services and EndpointSlices until the runtime ends.
pub(crate) struct Services {
    client: Client,
    hosts: Hosts,
    services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, EndpointSlice>,
    forwards: HashMap<(SocketAddr, bool), Forward>,
    balancers: BTreeMap<Key, Ipv4Addr>,
    next: u16,
}

impl Services {
    pub(crate) fn start(client: Client, hosts: Hosts) -> Result<()> {
        let services = Self {
            client,
            hosts,
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            forwards: HashMap::new(),
            balancers: BTreeMap::new(),
            next: 1,
        };
        tokio::spawn(services.watch());
        Ok(())
    }

    async fn watch(mut self) {
        let services: Api<Service> = Api::all(self.client.clone());
        let slices: Api<EndpointSlice> = Api::all(self.client.clone());
        let ours = || watcher::Config::default().labels(OURS);
        let mut services = pin!(watch_objects(services, ours()).default_backoff());
        let mut slices = pin!(watch_objects(slices, ours()).default_backoff());
        let (mut seen_services, mut seen_slices) = (BTreeMap::new(), BTreeMap::new());
        loop {
            let changed = tokio::select! {
                Some(Ok(event)) = services.next() => note(&mut self.services, &mut seen_services, event),
                Some(Ok(event)) = slices.next() => note(&mut self.slices, &mut seen_slices, event),
                // A watch that failed tries again by itself.
                else => false,
            };
            if changed {
                self.settle().await;
            }
        }
    }

    /// Makes addresses, sockets and names what the objects say.
    async fn settle(&mut self) {
        self.balancers.retain(|key, _| self.services.contains_key(key));
        let mut wanted: HashMap<(SocketAddr, bool), Vec<SocketAddr>> = HashMap::new();
        let mut named = BTreeMap::new();
        for (key, service) in self.services.clone() {
            let balancer = self.balancer(&key, &service).await;
            let cluster = cluster_address(&service);
            if let Some(address) = cluster {
                named.insert(key.clone(), address);
            }
            for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
                let targets = self.targets(&key, port);
                let datagrams = port.protocol.as_deref() == Some("UDP");
                let node_port = port.node_port.and_then(|number| u16::try_from(number).ok());
                let number = u16::try_from(port.port).unwrap_or_default();
                let external = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten());
                let external = external.filter_map(|address| address.parse().ok());
                let addresses = [cluster, balancer].into_iter().flatten().chain(external);
                let addresses = addresses.map(|address| (address, number));
                for (address, number) in addresses.chain(node_port.map(|number| (HOST, number))) {
                    let address = SocketAddr::from((address, number));
                    wanted.entry((address, datagrams)).or_insert_with(|| targets.clone());
                }
            }
        }
        self.forwards.retain(|key, _| wanted.contains_key(key));
        for (key, targets) in wanted {
            let (address, datagrams) = key;
            self.forwards
                .entry(key)
                .or_insert_with(|| Forward::start(address, datagrams))
                .targets()
                .set(targets);
        }
        self.hosts.set(named);
    }

    /// The address of a load balancer, written into the Service's status when it is new.
    async fn balancer(&mut self, key: &Key, service: &Service) -> Option<Ipv4Addr> {
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref() != Some("LoadBalancer") || spec.load_balancer_class.is_some() {
            self.balancers.remove(key);
            return None;
        }
        let asked = spec.load_balancer_ip.as_ref().filter(|asked| !asked.is_empty());
        let address = match (asked, self.balancers.get(key)) {
            (Some(asked), _) => {
                let asked: Ipv4Addr = asked.parse().ok()?;
                (asked.octets()[..2] == POOL.octets()[..2]).then_some(asked)?
            }
            (None, Some(address)) => *address,
            (None, None) => {
                self.next += 1;
                Ipv4Addr::from_bits(POOL.to_bits() + u32::from(self.next))
            }
        };
        self.balancers.insert(key.clone(), address);
        let ingress =
            service.status.as_ref()?.load_balancer.as_ref().and_then(|status| status.ingress.as_ref());
        let written = ingress.is_some_and(|all| all.iter().any(|one| one.ip == Some(address.to_string())));
        if !written {
            let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}});
            let api: Api<Service> = Api::namespaced(self.client.clone(), &key.0);
            let _ = api.patch_status(&key.1, &PatchParams::default(), &Patch::Merge(&status)).await;
        }
        Some(address)
    }

    /// The ready endpoints of a port; when there is none, those that end but still serve.
    fn targets(&self, key: &Key, port: &ServicePort) -> Vec<SocketAddr> {
        let slices = self.slices.iter().filter(|((namespace, _), slice)| {
            *namespace == key.0 && slice.labels().get(SLICE_OF).is_some_and(|service| *service == key.1)
        });
        let (mut ready, mut serving) = (BTreeSet::new(), BTreeSet::new());
        for (_, slice) in slices {
            let number = slice.ports.iter().flatten().find(|candidate| {
                candidate.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
            });
            let Some(number) = number.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
            for endpoint in &slice.endpoints {
                let addresses =
                    endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
                let addresses = addresses.map(|address| SocketAddr::new(address, number));
                let conditions = endpoint.conditions.as_ref();
                if conditions.and_then(|conditions| conditions.ready).unwrap_or(true) {
                    ready.extend(addresses);
                } else if conditions.and_then(|conditions| conditions.serving) == Some(true) {
                    serving.extend(addresses);
                }
            }
        }
        (if ready.is_empty() { serving } else { ready }).into_iter().collect()
    }
}

fn cluster_address(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// Keeps what a watch says and returns whether anything changed. A new list replaces everything at its end.
fn note<K>(kept: &mut BTreeMap<Key, K>, listed: &mut BTreeMap<Key, K>, event: Event<K>) -> bool
where
    K: kube::Resource,
{
    let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => drop(listed.insert(key(&object), object)),
        Event::InitDone => {
            *kept = std::mem::take(listed);
            return true;
        }
        Event::Apply(object) => {
            kept.insert(key(&object), object);
            return true;
        }
        Event::Delete(object) => return kept.remove(&key(&object)).is_some(),
    }
    false
}

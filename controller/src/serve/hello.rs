//! The first requests of a stream: who comes, what it wants to hear of, what it has.

use sluice_ir::{self as ir, ResourceKey, ResourceKind};
use sluice_xds::{DESTINATION, DeltaDiscoveryRequest, HOST, Node, kind_of};
use std::collections::{BTreeSet, HashMap};
use tonic::{Status, Streaming};

/// Versions of what a data plane has.
pub(super) type Versions = HashMap<ResourceKey, u64>;

/// What a data plane says at first.
#[derive(Debug)]
pub(super) struct Hello {
    /// The Gateway that it serves, or `Workloads/NAMESPACE` of a sidecar.
    pub(super) gateway: ir::GatewayKey,
    /// Name of its pod.
    pub(super) name: String,
    /// Its version of Sluice.
    pub(super) version: String,
    /// The Kubernetes node that it runs on, if it says so.
    pub(super) host: Option<String>,
    /// What it has.
    pub(super) has: Versions,
    /// Destinations that it asked for before; `None`: it has not said so yet.
    pub(super) destinations: Option<Vec<String>>,
    wants: BTreeSet<ResourceKind>,
}

impl Hello {
    /// Reads until each kind is subscribed that the data plane announced; one that announces none must subscribe to
    /// all that there are.
    pub(super) async fn read(requests: &mut Streaming<DeltaDiscoveryRequest>) -> Result<Self, Status> {
        let first = requests.message().await?.ok_or_else(|| Status::cancelled("no request came"))?;
        let node =
            first.node.clone().ok_or_else(|| Status::invalid_argument("the first request has no node"))?;
        let asks = node.client_features.iter().any(|url| url == DESTINATION);
        let (mut hello, announced) = Self::new(node)?;
        hello.subscribe(first);
        while !hello.wants.is_superset(&announced) || asks && hello.destinations.is_none() {
            let more =
                requests.message().await?.ok_or_else(|| Status::cancelled("the subscriptions ended"))?;
            hello.subscribe(more);
        }
        Ok(hello)
    }

    fn new(node: Node) -> Result<(Self, BTreeSet<ResourceKind>), Status> {
        let is_name = |part: &str| !part.is_empty() && part.len() <= 253;
        let gateway = node
            .cluster
            .split_once('/')
            .filter(|(namespace, name)| is_name(namespace) && is_name(name) && !name.contains('/'));
        if gateway.is_none() || !is_name(&node.id) {
            return Err(Status::invalid_argument(
                "the node must have the pod's name as id and NAMESPACE/NAME of its Gateway as cluster",
            ));
        }
        let announced: BTreeSet<_> = node.client_features.iter().filter_map(|url| kind_of(url)).collect();
        let announced = if announced.is_empty() { ResourceKind::ALL.into() } else { announced };
        let host = node.metadata.and_then(|mut it| it.fields.remove(HOST)).and_then(|it| it.string_value);
        let hello = Self {
            host: host.filter(|it| is_name(it)),
            gateway: ir::GatewayKey::new(node.cluster),
            name: node.id,
            version: node.user_agent_version.chars().take(64).collect(),
            has: Versions::new(),
            destinations: None,
            wants: BTreeSet::new(),
        };
        Ok((hello, announced))
    }

    fn subscribe(&mut self, request: DeltaDiscoveryRequest) {
        if request.type_url == DESTINATION {
            self.destinations.get_or_insert_default().extend(request.resource_names_subscribe);
            return;
        }
        let Some(kind) = kind_of(&request.type_url) else { return };
        self.wants.insert(kind);
        self.has.extend(request.initial_resource_versions.into_iter().map(|(name, version)| {
            // 0 is the version of no resource of ours: what can't be read is sent again.
            (kind.key(&name), u64::from_str_radix(&version, 16).unwrap_or_default())
        }));
    }

    /// Whether it has subscribed to a kind.
    pub(super) fn wants(&self, kind: ResourceKind) -> bool {
        self.wants.contains(&kind)
    }
}

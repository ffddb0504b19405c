//! What this data plane has of the controller's configuration: versions, refusals, and the batch that is coming in.

use sluice_ir::{self as ir, Resource, ResourceKey, ResourceKind};
use sluice_xds::{BatchMark, DESTINATION, DeltaDiscoveryResponse, Destination, Refusal, kind_of, unpack};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Refusals that the controller is told of; further ones are in the log.
const MOST_REFUSALS: usize = 100;

/// Versions of what is served, and what is not.
#[derive(Debug, Default)]
pub(super) struct Held {
    versions: HashMap<ResourceKey, u64>,
    /// What could not be read; the version before is served.
    unreadable: BTreeMap<ResourceKey, String>,
    /// Listeners that can't be served.
    unserved: BTreeMap<ResourceKey, String>,
}

/// Responses of a batch whose last one has not come yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    upserts: HashMap<ResourceKey, (Resource, u64)>,
    removals: Vec<ResourceKey>,
    unreadable: Vec<(ResourceKey, String)>,
    /// Destinations that were asked for, and the scopes that have them.
    pub(super) answers: Vec<(String, Option<ir::GatewayKey>)>,
    /// Type and nonce of each response, for the answers.
    pub(super) responses: Vec<(String, String)>,
}

impl Held {
    /// What the disk has.
    pub(super) fn restored(versions: HashMap<ResourceKey, u64>) -> Self {
        Self { versions, ..Self::default() }
    }

    /// Whether the resource is served.
    pub(super) fn has(&self, key: &ResourceKey) -> bool {
        self.versions.contains_key(key)
    }

    /// Names and versions of a kind, to go on with.
    pub(super) fn versions(&self, kind: ResourceKind) -> HashMap<String, String> {
        let own = self.versions.iter().filter(|(key, _)| key.kind() == kind);
        own.map(|(key, version)| (key.as_str().to_owned(), format!("{version:016x}"))).collect()
    }

    /// Takes a response into the batch; `true` when it was the last.
    pub(super) fn collect(&self, batch: &mut Batch, response: DeltaDiscoveryResponse) -> bool {
        let mark = BatchMark::parse(&response.system_version_info);
        // A kind that was not asked for is answered and otherwise left alone.
        if let Some(kind) = kind_of(&response.type_url) {
            for message in &response.resources {
                match unpack(kind, message) {
                    Ok((resource, version)) => {
                        let resource = self.shared(batch, resource);
                        batch.upserts.insert(resource.key(), (resource, version));
                    }
                    Err(error) => batch.unreadable.push((kind.key(&message.name), error.to_string())),
                }
            }
            batch.removals.extend(response.removed_resources.iter().map(|name| kind.key(name)));
        }
        if response.type_url == DESTINATION {
            let found = response.resources.iter();
            batch.answers.extend(found.map(|it| (it.name.clone(), Destination::read(it))));
            batch.answers.extend(response.removed_resources.into_iter().map(|name| (name, None)));
        }
        batch.responses.push((response.type_url, response.nonce));
        mark.last
    }

    /// The batch as a delta. From here on its versions count.
    pub(super) fn accept(&mut self, batch: Batch) -> ir::Delta {
        let mut delta = ir::Delta::default();
        for (key, why) in batch.unreadable {
            tracing::error!(resource = %key, reason = why, "a resource can't be read; its last version stays");
            self.unreadable.insert(key, why);
        }
        for key in batch.removals {
            self.versions.remove(&key);
            self.unreadable.remove(&key);
            if !batch.upserts.contains_key(&key) {
                delta.removals.push(key);
            }
        }
        for (key, (resource, version)) in batch.upserts {
            self.unreadable.remove(&key);
            self.versions.insert(key, version);
            delta.upserts.push(resource);
        }
        delta
    }

    /// Listeners that can't be served now; `true` when they are others than before.
    pub(super) fn set_unserved(&mut self, failures: Vec<(ir::ListenerKey, String)>) -> bool {
        let now = failures.into_iter().map(|(key, why)| (ResourceKey::Listener(key), why)).collect();
        let changed = self.unserved != now;
        self.unserved = now;
        changed
    }

    /// Whether some listener can't be served.
    pub(super) fn has_unserved(&self) -> bool {
        !self.unserved.is_empty()
    }

    /// How many resources are refused.
    pub(super) fn refused(&self) -> usize {
        self.unreadable.len() + self.unserved.len()
    }

    /// Everything that is refused, for the controller.
    pub(super) fn refusals(&self) -> Vec<Refusal> {
        let all = self.unreadable.iter().chain(&self.unserved).take(MOST_REFUSALS);
        all.map(|(key, why)| Refusal::new(key, why)).collect()
    }

    /// A route with the keys that are here already in the place of its own copies: there are many routes.
    fn shared(&self, batch: &Batch, resource: Resource) -> Resource {
        let Resource::Route(mut shared) = resource else { return resource };
        // Decoded a moment ago: nobody else has it.
        let Some(route) = Arc::get_mut(&mut shared) else { return Resource::Route(shared) };
        let known = |key: ResourceKey| {
            let held = self.versions.get_key_value(&key).map(|(key, _)| key);
            held.or_else(|| batch.upserts.get_key_value(&key).map(|(key, _)| key)).cloned().unwrap_or(key)
        };
        for attachment in &mut route.attachments {
            if let ResourceKey::Listener(key) = known(ResourceKey::Listener(attachment.listener.clone())) {
                attachment.listener = key;
            }
        }
        for backend in route.rules.iter_mut().flat_map(|rule| Arc::make_mut(&mut rule.backends)) {
            if let ir::BackendTarget::Backend(own) = &mut backend.target
                && let ResourceKey::Backend(key) = known(ResourceKey::Backend(own.clone()))
            {
                *own = key;
            }
        }
        Resource::Route(shared)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Batch, Held};
    use sluice_ir::{self as ir, Resource, ResourceKind};
    use sluice_xds::{BatchMark, DeltaDiscoveryResponse, Packed, type_url};
    use std::sync::Arc;

    fn backend(name: &str, protocol: ir::BackendProtocol) -> Resource {
        Resource::Backend(Arc::new(ir::Backend {
            key: ir::BackendKey::new(name),
            origin: ir::Origin::new("Service", "shop", name),
            protocol,
            endpoints: ir::EndpointSetKey::new(name),
            tls: None,
            policy: None,
            health: None,
            mesh: ir::MeshTls::Off,
        }))
    }

    fn response(last: bool, resources: &[Resource], removed: &[&str]) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: BatchMark { number: 1, last }.to_string(),
            resources: resources.iter().map(|it| Packed::new(it).unwrap().message(&it.key())).collect(),
            type_url: type_url(ResourceKind::Backend),
            nonce: "1".to_owned(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            control_plane: None,
        }
    }

    fn accept(held: &mut Held, responses: Vec<DeltaDiscoveryResponse>) -> ir::Delta {
        let mut batch = Batch::default();
        let count = responses.len();
        for (position, response) in responses.into_iter().enumerate() {
            assert_eq!(held.collect(&mut batch, response), position + 1 == count);
        }
        held.accept(batch)
    }

    #[test]
    fn a_resource_that_can_not_be_read_keeps_its_last_version_and_spoils_no_other() {
        let mut held = Held::default();
        let (a, b) = (backend("a", ir::BackendProtocol::Http1), backend("b", ir::BackendProtocol::Http1));
        let first = accept(&mut held, vec![response(false, &[a], &[]), response(true, &[b], &[])]);
        assert_eq!(first.upserts.len(), 2);
        let versions = held.versions(ResourceKind::Backend);
        // A variant that this version does not know, and a good one beside it.
        let newer = backend("b", ir::BackendProtocol::H2c);
        let mut second = response(true, &[backend("a", ir::BackendProtocol::H2c), newer.clone()], &[]);
        let body = second.resources[0].resource.as_mut().unwrap();
        let text = body.value.iter().copied().collect::<Vec<_>>();
        let place = text.windows(3).position(|window| window == b"h2c").unwrap();
        let mut damaged = text.clone();
        damaged[place..place + 3].copy_from_slice(b"h3c");
        body.value = damaged.into();
        let delta = accept(&mut held, vec![second]);
        assert_eq!(delta.upserts, [newer]);
        let refusals = held.refusals();
        assert_eq!((refusals.len(), refusals[0].name.as_str()), (1, "a"));
        assert!(refusals[0].message.starts_with("protocol: unknown variant `h3c`"), "{refusals:?}");
        assert_eq!(held.versions(ResourceKind::Backend)["a"], versions["a"], "it is asked for again");
        // Mended.
        accept(&mut held, vec![response(true, &[backend("a", ir::BackendProtocol::H2c)], &[])]);
        assert!(held.refusals().is_empty());
    }

    #[test]
    fn what_is_removed_is_not_asked_for_again() {
        let mut held = Held::default();
        accept(&mut held, vec![response(true, &[backend("a", ir::BackendProtocol::Http1)], &[])]);
        let delta = accept(&mut held, vec![response(true, &[], &["a", "never-there"])]);
        assert_eq!(delta.removals.len(), 2);
        assert!(held.versions(ResourceKind::Backend).is_empty());
    }

    #[test]
    fn routes_share_the_keys_that_are_here() {
        let mut held = Held::default();
        let listener = ir::ListenerKey::new("Gateway/shop/web/http");
        held.versions.insert(ir::ResourceKey::Listener(listener.clone()), 1);
        let route = Resource::Route(Arc::new(ir::Route {
            key: ir::RouteKey::new("HTTPRoute/shop/cart"),
            origin: ir::Origin::new("HTTPRoute", "shop", "cart"),
            kind: ir::RouteKind::Http,
            created_s: 0,
            attachments: [ir::Attachment {
                listener: ir::ListenerKey::new("Gateway/shop/web/http"),
                hostnames: [ir::HostPattern::Any].into(),
            }]
            .into(),
            traffic: None,
            rules: Box::default(),
        }));
        let mut message = response(true, &[route], &[]);
        message.type_url = type_url(ResourceKind::Route);
        let delta = accept(&mut held, vec![message]);
        let Resource::Route(route) = &delta.upserts[0] else { panic!() };
        assert!(std::ptr::eq(route.attachments[0].listener.as_str(), listener.as_str()));
    }
}

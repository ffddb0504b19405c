//! Wire forms that were made a moment ago: several data planes of a Gateway need the same at the same time.

use sluice_ir::{Resource, ResourceKey};
use sluice_xds::Packed;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bytes that are kept. Beyond, the oldest go: they are made again when somebody needs them.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// The newest wire forms by key.
#[derive(Default)]
pub(super) struct PackCache {
    kept: HashMap<ResourceKey, (Resource, Packed)>,
    order: VecDeque<ResourceKey>,
    bytes: usize,
}

impl PackCache {
    /// The wire form of exactly this resource.
    pub(super) fn get(&self, key: &ResourceKey, resource: &Resource) -> Option<Packed> {
        let (of, packed) = self.kept.get(key)?;
        same(of, resource).then(|| packed.clone())
    }

    /// Keeps a wire form for a while.
    pub(super) fn put(&mut self, key: &ResourceKey, resource: &Resource, packed: &Packed) {
        self.forget(key);
        self.bytes += packed.bytes.len();
        self.kept.insert(key.clone(), (resource.clone(), packed.clone()));
        self.order.push_back(key.clone());
        while self.bytes > MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.drop_kept(&oldest);
        }
    }

    /// The resource has changed.
    pub(super) fn forget(&mut self, key: &ResourceKey) {
        if self.drop_kept(key) {
            self.order.retain(|kept| kept != key);
        }
    }

    fn drop_kept(&mut self, key: &ResourceKey) -> bool {
        let Some((_, packed)) = self.kept.remove(key) else { return false };
        self.bytes -= packed.bytes.len();
        true
    }
}

/// Whether both are the same allocation: equal resources that are not are simply encoded again.
fn same(a: &Resource, b: &Resource) -> bool {
    match (a, b) {
        (Resource::Gateway(a), Resource::Gateway(b)) => Arc::ptr_eq(a, b),
        (Resource::Listener(a), Resource::Listener(b)) => Arc::ptr_eq(a, b),
        (Resource::Route(a), Resource::Route(b)) => Arc::ptr_eq(a, b),
        (Resource::StreamRoute(a), Resource::StreamRoute(b)) => Arc::ptr_eq(a, b),
        (Resource::Workloads(a), Resource::Workloads(b)) => Arc::ptr_eq(a, b),
        (Resource::Backend(a), Resource::Backend(b)) => Arc::ptr_eq(a, b),
        (Resource::EndpointSet(a), Resource::EndpointSet(b)) => Arc::ptr_eq(a, b),
        (Resource::Certificate(a), Resource::Certificate(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

//! What the server has of the objects that were made, by Gateway.

use super::kinds::OwnedKind;
use super::objects::HASH_ANNOTATION;
use crate::names;
use kube::ResourceExt;
use kube::core::{DynamicObject, TypeMeta};
use serde_json::Value;
use sluice_crds::{Kind, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kind, namespace, name.
pub(super) type Key = (OwnedKind, String, String);

/// An object on the server.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) kind: OwnedKind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    /// The Gateway that it belongs to, and that one's uid.
    pub(super) owner: Option<(ObjectRef, String)>,
    /// The class of the Gateway that it was made for, as label.
    pub(super) class: Option<String>,
    /// Whether it waits for others before it goes; nothing can be done to it meanwhile.
    pub(super) is_deleting: bool,
    /// The version that was applied last.
    pub(super) hash: Option<String>,
    /// The object, less what nobody reads here.
    pub(super) value: Value,
    version: Option<u64>,
}

impl Live {
    pub(super) fn read(kind: OwnedKind, mut object: DynamicObject) -> Self {
        object.metadata.managed_fields = None;
        // A list says once for all what its entries are.
        let resource = kind.resource();
        object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
        let namespace = object.namespace().unwrap_or_default();
        let gateway =
            object.owner_references().iter().find(|it| it.kind == "Gateway").map(|it| {
                (ObjectRef::new(Kind::Gateway, namespace.as_str(), it.name.as_str()), it.uid.clone())
            });
        if !matches!(kind, OwnedKind::Service | OwnedKind::Deployment)
            && let Some(fields) = object.data.as_object_mut()
        {
            fields.remove("status");
        }
        Self {
            kind,
            name: object.name_any(),
            uid: object.uid(),
            is_deleting: object.metadata.deletion_timestamp.is_some(),
            owner: gateway,
            class: object.labels().get(names::GATEWAY_CLASS_LABEL).cloned(),
            hash: object.annotations().get(HASH_ANNOTATION).cloned(),
            version: object.resource_version().and_then(|it| it.parse().ok()),
            value: serde_json::to_value(&object).unwrap_or_default(),
            namespace,
        }
    }

    pub(super) fn key(&self) -> Key {
        (self.kind, self.namespace.clone(), self.name.clone())
    }

    fn gateway(&self) -> Option<&ObjectRef> {
        self.owner.as_ref().map(|it| &it.0)
    }
}

/// All objects that were made, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Live>>,
    by_gateway: BTreeMap<ObjectRef, BTreeSet<Key>>,
}

impl Store {
    /// Notes an object; the Gateways that it concerns. What is older than what is known is left out: a watch may tell
    /// late of what a write has told already.
    pub(super) fn put(&mut self, live: Live) -> Vec<ObjectRef> {
        let key = live.key();
        let old = self.objects.get(&key);
        if let (Some(old), Some(new)) = (old.and_then(|it| it.version), live.version)
            && new <= old
        {
            return Vec::new();
        }
        let mut touched = self.remove(&key);
        if let Some(gateway) = live.gateway() {
            self.by_gateway.entry(gateway.clone()).or_default().insert(key.clone());
            touched.push(gateway.clone());
        }
        self.objects.insert(key, Arc::new(live));
        touched
    }

    /// Forgets an object; the Gateway that it concerned.
    pub(super) fn remove(&mut self, key: &Key) -> Vec<ObjectRef> {
        let Some(old) = self.objects.remove(key) else { return Vec::new() };
        let Some(gateway) = old.gateway().cloned() else { return Vec::new() };
        if let Some(keys) = self.by_gateway.get_mut(&gateway) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_gateway.remove(&gateway);
            }
        }
        vec![gateway]
    }

    /// Takes a whole list of a kind in: what is not in it is gone.
    pub(super) fn replace(&mut self, kind: OwnedKind, all: Vec<Live>) -> Vec<ObjectRef> {
        let there: BTreeSet<Key> = all.iter().map(Live::key).collect();
        let first = (kind, String::new(), String::new());
        let known = self.objects.range(first..).map(|(key, _)| key).take_while(|key| key.0 == kind);
        let gone: Vec<Key> = known.filter(|key| !there.contains(*key)).cloned().collect();
        let mut touched: Vec<ObjectRef> = gone.iter().flat_map(|key| self.remove(key)).collect();
        touched.extend(all.into_iter().flat_map(|live| self.put(live)).collect::<Vec<_>>());
        touched
    }

    /// The objects of a Gateway.
    pub(super) fn of(&self, gateway: &ObjectRef) -> Vec<Arc<Live>> {
        let keys = self.by_gateway.get(gateway).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    /// An object, whoever it belongs to.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Live>> {
        self.objects.get(key)
    }

    /// Gateways that have objects.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &ObjectRef> {
        self.by_gateway.keys()
    }
}

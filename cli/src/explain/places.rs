//! Positions of what the IR names.

use crate::finding::Position;
use crate::folder::{Folder, Locator};
use serde_json::Value;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{EndpointAddress, Origin, RouteKey};

/// Finds where resources of the IR come from.
pub(super) struct Places<'a> {
    folder: &'a Folder,
    locator: Locator<'a>,
}

impl<'a> Places<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self { folder, locator: folder.locator() }
    }

    /// The object, or its listener or port when the origin names a section.
    pub(super) fn of(&mut self, origin: &Origin) -> Option<Position> {
        let object = object(origin)?;
        let list = match object.kind {
            Kind::Gateway | Kind::ListenerSet => "spec.listeners",
            _ => "spec.ports",
        };
        match &origin.section {
            Some(section) => self.locator.item(&object, list, |item| text(item, "name") == &**section),
            None => self.locator.position(&object, ""),
        }
    }

    /// An endpoint of a Service or ServiceEntry.
    pub(super) fn endpoint(&mut self, origin: &Origin, address: &EndpointAddress) -> Option<Position> {
        let object = object(origin)?;
        let host = match address {
            EndpointAddress::Socket(address) => address.ip().to_string(),
            EndpointAddress::Dns { host, .. } => host.clone(),
        };
        if object.kind == Kind::ServiceEntry {
            let port = match address {
                EndpointAddress::Socket(address) => address.port(),
                EndpointAddress::Dns { port, .. } => *port,
            };
            let has_port = |item: &Value| {
                let ports = item.get("ports").and_then(Value::as_object);
                ports.is_none_or(|ports| ports.values().any(|it| it.as_u64() == Some(port.into())))
            };
            let wanted = |item: &Value| text(item, "address") == host && has_port(item);
            return self.locator.item(&object, "spec.endpoints", wanted);
        }
        let names_host = |endpoint: &Value| {
            let addresses = endpoint.get("addresses").and_then(Value::as_array);
            addresses.is_some_and(|addresses| addresses.iter().any(|it| it.as_str() == Some(host.as_str())))
        };
        let slice = self.slices(&object).into_iter().find(|slice| {
            let endpoints = self.locator.value(slice).and_then(|slice| slice.get("endpoints")?.as_array());
            endpoints.is_some_and(|endpoints| endpoints.iter().any(names_host))
        })?;
        self.locator.item(&slice, "endpoints", names_host)
    }

    /// The EndpointSlices of a Service.
    fn slices(&mut self, service: &ObjectRef) -> Vec<ObjectRef> {
        let label = "/metadata/labels/kubernetes.io~1service-name";
        let slices = self.folder.objects().filter(|it| it.kind == Kind::EndpointSlice);
        let slices = slices.filter(|it| it.namespace == service.namespace);
        let is_of = |slice: &Value| slice.pointer(label).and_then(Value::as_str) == Some(&service.name);
        slices.filter(|it| self.locator.value(it).is_some_and(is_of)).cloned().collect()
    }

    /// A field of an object.
    pub(super) fn field(&mut self, origin: &Origin, field: &str) -> Option<Position> {
        self.locator.position(&object(origin)?, field)
    }

    /// A field of a route.
    pub(super) fn route_field(&mut self, route: &RouteKey, field: &str) -> Option<Position> {
        self.locator.position(&route_object(route)?, field)
    }
}

fn text<'v>(item: &'v Value, field: &str) -> &'v str {
    item.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn object(origin: &Origin) -> Option<ObjectRef> {
    Some(ObjectRef::new(kind(origin.kind)?, &*origin.namespace, &*origin.name))
}

/// `HTTPRoute/shop/cart`.
pub(super) fn route_object(route: &RouteKey) -> Option<ObjectRef> {
    let mut parts = route.as_str().splitn(3, '/');
    Some(ObjectRef::new(kind(parts.next()?)?, parts.next()?, parts.next()?))
}

//! Manifests as objects, and as the changes that lead from one set to the next.

use sluice_crds::{Object, ObjectRef, Parsed};
use sluice_translate::Change;
use std::collections::BTreeMap;

/// Objects by reference.
pub type Objects = BTreeMap<ObjectRef, Object>;

/// Reads the documents of a YAML text. A document of a kind that Sluice does not read is left out.
pub fn parse(yaml: &str) -> Objects {
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("manifests: {error}"));
    documents.into_iter().filter(|document| !document.is_null()).flat_map(object).collect()
}

fn object(document: serde_json::Value) -> Option<(ObjectRef, Object)> {
    match Object::parse(document, "default") {
        Ok(Parsed::Known { object, .. }) => Some((object.reference(), object)),
        Ok(Parsed::Ignored { .. }) => None,
        Err(error) => panic!("manifests: {error}"),
    }
}

/// The objects after a step: its documents replace those of the same name, and `remove: ["HTTPRoute shop/cart"]` takes
/// objects out.
pub fn edited(before: &Objects, step: &str) -> Objects {
    let mut after = before.clone();
    let documents: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(step).unwrap_or_else(|error| panic!("step: {error}"));
    for removed in documents.iter().filter_map(|document| document.get("remove")?.as_array()).flatten() {
        let name = removed.as_str().unwrap_or_else(|| panic!("step: no name: {removed}"));
        let count = after.len();
        after.retain(|key, _| key.to_string() != name);
        assert!(after.len() < count, "step: {name:?} is not there");
    }
    let manifests = documents.into_iter().filter(|document| document.get("remove").is_none());
    after.extend(manifests.flat_map(object));
    after
}

/// The changes that lead from `before` to `after`.
pub fn changes(before: &Objects, after: &Objects) -> Vec<Change> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).cloned().map(Change::Remove);
    let new = after.iter().filter(|(key, object)| before.get(*key) != Some(*object));
    gone.chain(new.map(|(_, object)| Change::Upsert(object.clone()))).collect()
}

/// A Gateway `default/web` with one HTTP listener `http` on port 80.
pub const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: http, port: 80, protocol: HTTP}
";

/// A ServiceEntry for a host with one port. A [`Stand`](crate::Stand) puts an echo behind it.
pub fn backend(host: &str, port: u16, protocol: &str) -> String {
    backend_at(host, port, protocol, "127.0.0.1", port)
}

/// A ServiceEntry for a host whose only endpoint is at this address.
pub fn backend_at(host: &str, port: u16, protocol: &str, address: &str, target: u16) -> String {
    let name = host.replace('.', "-");
    format!(
        "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}-{port}}}
spec:
  hosts: [{host}]
  ports: [{{number: {port}, name: main, protocol: {protocol}, targetPort: {target}}}]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
"
    )
}

/// An HTTPRoute of `default/web` that sends everything of these hosts to `backend:port`. Without hosts: all.
pub fn route(name: &str, hosts: &[&str], backend: &str, port: u16) -> String {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!("hostnames: [{}]", hosts.join(", ")) };
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: web}}]
  {hosts}
  rules:
  - backendRefs: [{{group: networking.istio.io, kind: Hostname, name: {backend}, port: {port}}}]
"
    )
}

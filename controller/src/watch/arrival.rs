//! One object as it comes from the API server: trimmed, read into its type, with the status that the server has.
//!
//! Nothing that comes in here can stop a watch: an object that can't be read is an [`Arrival::Unreadable`].

use crate::status::Seen;
use serde_json::{Map, Value};
use sluice_crds::{Kind, Object, ObjectRef, ParseError};

/// What a watch tells.
#[derive(Debug)]
pub enum Arrival {
    /// The object is new or has changed.
    Upsert {
        /// The object.
        object: Object,
        /// The status that the server has, of kinds that have one.
        seen: Option<Seen>,
    },
    /// The object is there, but its newest version can't be read.
    Unreadable {
        /// The object.
        reference: ObjectRef,
        /// What could be read all the same, of routes.
        rest: Option<Object>,
        /// The status that the server has, of kinds that have one.
        seen: Option<Seen>,
        /// Which field and why.
        error: ParseError,
    },
    /// The object is gone.
    Remove(ObjectRef),
    /// All objects of the kind that there are have been told, or the server has no such kind.
    Listed(Kind),
}

/// An object with its place in the server's history.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) reference: ObjectRef,
    pub(crate) version: String,
    pub(crate) arrival: Arrival,
}

/// Name and version of an object, or what is missing.
pub(crate) fn identity(kind: Kind, value: &Value) -> Result<(ObjectRef, String), ParseError> {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (text("/metadata/name"), text("/metadata/resourceVersion"));
    for (path, text) in [("metadata.name", name), ("metadata.resourceVersion", version)] {
        if text.is_empty() {
            let message = format!("a {kind} from the API server has none");
            return Err(ParseError { object: None, path: path.to_owned(), message });
        }
    }
    Ok((ObjectRef::new(kind, text("/metadata/namespace"), name), version.to_owned()))
}

/// Reads an object that is there.
pub(crate) fn read(kind: Kind, mut value: Value) -> Result<Read, ParseError> {
    let (reference, version) = identity(kind, &value)?;
    let seen = has_status(kind).then(|| Seen::new(&version, value.get("status")));
    trim(kind, &mut value);
    let skeleton = is_route(kind).then(|| skeleton(&value));
    let arrival = match Object::read(kind, value) {
        Ok(object) => Arrival::Upsert { object, seen },
        Err(error) => Arrival::Unreadable {
            reference: reference.clone(),
            rest: skeleton.and_then(|it| Object::read(kind, it).ok()),
            seen,
            error,
        },
    };
    Ok(Read { reference, version, arrival })
}

/// Whether we write a status for objects of the kind.
pub fn has_status(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CertificateIssuer
            | Kind::DestinationRule
            | Kind::PeerAuthentication
            | Kind::Telemetry
            | Kind::ServiceEntry
            | Kind::Sidecar
            | Kind::AuthorizationPolicy
            | Kind::RequestAuthentication
            | Kind::TrafficPolicy
            | Kind::HealthCheckPolicy
    ) || kind.group() == sluice_crds::GATEWAY_API_GROUP && kind != Kind::ReferenceGrant
}

fn is_route(kind: Kind) -> bool {
    kind.group() == sluice_crds::GATEWAY_API_GROUP && kind.name().ends_with("Route")
}

/// The only annotations that mean something: our own, and that of an AuthorizationPolicy which is only told.
const OWN_ANNOTATIONS: &str = "sluice.dev/";
const DRY_RUN: &str = "istio.io/dry-run";

/// Drops what nobody reads.
fn trim(kind: Kind, value: &mut Value) {
    let Some(document) = value.as_object_mut() else { return };
    if !matches!(kind, Kind::ServiceEntry | Kind::Pod) {
        // Addresses that hosts were given, or pods have, are read.
        document.remove("status");
    }
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "finalizers"] {
            metadata.remove(field);
        }
        if kind != Kind::Pod {
            // The name of a workload is that of its pods' owner.
            metadata.remove("ownerReferences");
        }
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.retain(|name, _| name.starts_with(OWN_ANNOTATIONS) || name == DRY_RUN);
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.remove("annotations");
        }
    }
    match kind {
        Kind::ConfigMap => {
            keep(document, &["data", "binaryData"], &["ca.crt", "mesh"]);
        }
        Kind::Secret => keep(
            document,
            &["data"],
            &[
                "tls.crt",
                "tls.key",
                "ca.crt",
                "ca.crl",
                "cert",
                "key",
                "cacert",
                "crl",
                "eab-key",
                "tsig-key",
                "webhook-header",
            ],
        ),
        Kind::Node => drop(document.remove("spec")),
        Kind::Pod => keep(document, &["spec"], &["serviceAccountName"]),
        Kind::EndpointSlice => {
            let endpoints = document.get_mut("endpoints").and_then(Value::as_array_mut);
            for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
                for field in ["targetRef", "hostname", "deprecatedTopology", "hints"] {
                    endpoint.remove(field);
                }
            }
        }
        _ => {}
    }
}

fn keep(document: &mut Map<String, Value>, maps: &[&str], keys: &[&str]) {
    for map in maps {
        if let Some(map) = document.get_mut(*map).and_then(Value::as_object_mut) {
            map.retain(|key, _| keys.contains(&key.as_str()));
        }
    }
}

/// A route reduced to what its status needs: metadata and parents.
fn skeleton(value: &Value) -> Value {
    let mut spec = Map::new();
    if let Some(parents) = value.pointer("/spec/parentRefs") {
        spec.insert("parentRefs".to_owned(), parents.clone());
    }
    // Kinds that need a rule get an empty one.
    spec.insert("rules".to_owned(), Value::Array(Vec::new()));
    let mut document = Map::new();
    document.insert("metadata".to_owned(), value.get("metadata").cloned().unwrap_or_default());
    document.insert("spec".to_owned(), Value::Object(spec));
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Arrival, read};
    use serde_json::json;
    use sluice_crds::{Kind, Object};

    #[test]
    fn a_route_with_an_unknown_value_keeps_its_parents_and_names_the_field() {
        let read = read(
            Kind::HttpRoute,
            json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"},
                   "spec": {"parentRefs": [{"name": "web"}],
                            "rules": [{"matches": [{"path": {"type": "Fuzzy", "value": "/"}}]}]}}),
        )
        .unwrap();
        assert_eq!(read.version, "5");
        let Arrival::Unreadable { rest: Some(Object::HttpRoute(rest)), error, seen, .. } = read.arrival
        else {
            panic!("{:?}", read.arrival)
        };
        assert_eq!(error.path, "spec.rules[0].matches[0].path.type");
        assert_eq!(rest.spec.parent_refs.unwrap()[0].name, "web");
        assert!(seen.is_some());
    }

    #[test]
    fn a_config_map_keeps_only_its_ca() {
        let read = read(
            Kind::ConfigMap,
            json!({"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5", "annotations": {"a": "b"}},
                   "data": {"ca.crt": "PEM", "huge": "x"}}),
        )
        .unwrap();
        let Arrival::Upsert { object: Object::ConfigMap(map), seen: None } = read.arrival else {
            panic!("{:?}", read.arrival)
        };
        assert_eq!(map.data.unwrap().into_keys().collect::<Vec<_>>(), ["ca.crt"]);
        assert!(map.metadata.annotations.is_none());
    }

    #[test]
    fn an_object_without_a_name_is_an_error_and_no_panic() {
        assert!(read(Kind::Service, json!({"metadata": {"resourceVersion": "5"}})).is_err());
        assert!(read(Kind::Service, json!([])).is_err());
    }
}

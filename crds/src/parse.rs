//! Reads an object from JSON: which kind it is, its typed form, and the fields that nobody reads.
//!
//! Comes in: one document of a manifest. Goes out: the typed object with its namespace filled in, or an error that
//! names the object, the field and the next step. A kind that Sluice does not read is no error.

use crate::{Kind, Object, ObjectRef, suggest, unknown};
use serde_json::Value;
use thiserror::Error;

/// What a document is.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A kind that Sluice reads.
    Known {
        /// The typed object.
        object: Object,
        /// Paths of fields that its type does not have, sorted: `spec.rules[0].matchs`. For what was probably meant
        /// ask [`Parsed::suggestion`].
        unknown_fields: Vec<String>,
    },
    /// A kind that Sluice does not read.
    Ignored {
        /// `apps/v1`.
        api_version: String,
        /// `Deployment`.
        kind: String,
        /// `metadata.name`.
        name: String,
    },
}

/// Why a document is no object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}{message}", object.as_ref().map(|it| format!("{it}: ")).unwrap_or_default(),
    if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct ParseError {
    /// The object, as far as it could be read.
    pub object: Option<ObjectRef>,
    /// The field: `spec.rules[0].matches[1].path.type`; empty for the whole document.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Parsed {
    /// For a path of `unknown_fields`: the field of that place that was probably meant.
    pub fn suggestion(&self, path: &str) -> Option<String> {
        match self {
            Self::Known { object, .. } => suggest::field(object.kind(), path),
            Self::Ignored { .. } => None,
        }
    }
}

impl Object {
    /// Reads one document. A namespaced object without a namespace gets `default_namespace`. `status` (but for the
    /// addresses of a ServiceEntry or Pod) and `metadata.managedFields` are not read.
    ///
    /// # Errors
    /// When the document has no kind or name, when its version is not read, or when a field has the wrong type or
    /// value.
    pub fn parse(value: Value, default_namespace: &str) -> Result<Parsed, ParseError> {
        let mut value = value;
        let fail =
            |path: &str, message: String| Err(ParseError { object: None, path: path.to_owned(), message });
        if !value.is_object() {
            return fail("", "expected an object with apiVersion, kind, metadata and spec".to_owned());
        }
        let Some(api_version) = text(&value, "/apiVersion") else {
            return fail("apiVersion", "is missing; for example: gateway.networking.k8s.io/v1".to_owned());
        };
        let Some(kind_name) = text(&value, "/kind") else {
            return fail("kind", "is missing; for example: HTTPRoute".to_owned());
        };
        let name = text(&value, "/metadata/name").unwrap_or_default();
        let kind = match find_kind(&api_version, &kind_name) {
            Ok(Some(kind)) => kind,
            Ok(None) => return Ok(Parsed::Ignored { api_version, kind: kind_name, name }),
            Err((path, message)) => return fail(path, format!("{kind_name} {name:?}: {message}")),
        };
        if name.is_empty() {
            return fail("metadata.name", format!("{kind} has no name; every object needs one"));
        }
        prepare(&mut value, kind);
        let namespace = text(&value, "/metadata/namespace").unwrap_or_else(|| default_namespace.to_owned());
        let reference = ObjectRef::new(kind, namespace, name);
        let original = value.clone();
        let object = typed(&reference, value)?;
        let unknown_fields = unknown::fields(&original, &object);
        Ok(Parsed::Known { object, unknown_fields })
    }

    /// Reads what an API server gave for an object of `kind`, in whichever version it serves. Fields that the types
    /// don't have are no error and not looked for: the server's schema may be newer than ours. `status` (but for the
    /// addresses of a ServiceEntry or Pod) and `metadata.managedFields` are not read.
    ///
    /// # Errors
    /// When the object has no name, or when a field has a type or value that ours don't have.
    pub fn read(kind: Kind, mut value: Value) -> Result<Self, ParseError> {
        let Some(name) = text(&value, "/metadata/name") else {
            let message = format!("{kind} has no name; every object needs one");
            return Err(ParseError { object: None, path: "metadata.name".to_owned(), message });
        };
        let namespace = text(&value, "/metadata/namespace").unwrap_or_default();
        prepare(&mut value, kind);
        typed(&ObjectRef::new(kind, namespace, name), value)
    }
}

/// The typed form of a prepared document.
fn typed(reference: &ObjectRef, value: Value) -> Result<Object, ParseError> {
    let kind = reference.kind;
    let mut object = Object::deserialize(kind, value).map_err(|error| ParseError {
        object: Some(reference.clone()),
        path: clean_path(&error.path().to_string()),
        message: explain(&error.inner().to_string()),
    })?;
    object.metadata_mut().namespace = kind.is_namespaced().then(|| reference.namespace.to_string());
    Ok(object)
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned)
}

/// The kind, `None` for one that is not ours, or the field that is wrong and why.
fn find_kind(api_version: &str, kind_name: &str) -> Result<Option<Kind>, (&'static str, String)> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let in_group = || Kind::ALL.into_iter().filter(|kind| kind.group() == group);
    if let Some(kind) = in_group().find(|kind| kind.name() == kind_name) {
        if kind.versions().contains(&version) {
            return Ok(Some(kind));
        }
        return Err(("apiVersion", format!("{api_version} is not read; use {}", kind.api_version())));
    }
    let elsewhere = Kind::ALL.into_iter().find(|kind| kind.name() == kind_name);
    // A core kind name under another group is somebody else's (Knative has a Service), a Gateway API name under a
    // core or misspelt group is a mistake.
    if let Some(kind) = elsewhere.filter(|kind| {
        kind.group() == crate::GATEWAY_API_GROUP
            && (group.is_empty() || suggest::is_close(group, kind.group()))
    }) {
        return Err(("apiVersion", format!("is {api_version:?}; {kind} is in {}", kind.api_version())));
    }
    if KNOWN_BUT_NOT_READ.contains(&kind_name) {
        return Ok(None);
    }
    match in_group().find(|kind| suggest::is_close(kind_name, kind.name())) {
        Some(kind) if !group.is_empty() => Err(("kind", format!("is unknown; did you mean {kind}?"))),
        _ => Ok(None),
    }
}

/// Kinds of the groups that Sluice reads, so close to another's name that they must not be taken for a slip.
const KNOWN_BUT_NOT_READ: [&str; 1] = ["WorkloadGroup"];

/// Drops what is not read, and gives older versions the name of the current one where the type asks for it.
fn prepare(value: &mut Value, kind: Kind) {
    let Some(document) = value.as_object_mut() else { return };
    let status = document.remove("status");
    let kept = match kind {
        Kind::ServiceEntry => status.and_then(given_addresses),
        Kind::Pod => status.map(whereabouts),
        _ => None,
    };
    if let Some(kept) = kept {
        document.insert("status".to_owned(), kept);
    }
    document.insert("apiVersion".to_owned(), Value::String(kind.api_version()));
    // Items of a list come without.
    document.insert("kind".to_owned(), Value::String(kind.name().to_owned()));
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// What is read of the status of a ServiceEntry: addresses that were given to its hosts, so that they stay. What is no
/// such thing is left out: nobody writes a status by hand, and a wrong one must not make the object unreadable.
fn given_addresses(mut status: Value) -> Option<Value> {
    let Value::Array(given) = status.get_mut("addresses")?.take() else { return None };
    let field = |it: &Value, name: &str| Some(Value::String(it.get(name)?.as_str()?.to_owned()));
    let pairs = given.iter().filter_map(|it| {
        let pair = [("host", field(it, "host")?), ("value", field(it, "value")?)];
        Some(Value::Object(pair.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()))
    });
    let pairs: Vec<Value> = pairs.collect();
    let status = [("addresses".to_owned(), Value::Array(pairs))];
    Some(Value::Object(status.into_iter().collect()))
}

/// What is read of the status of a Pod: its addresses, and whether it still runs.
fn whereabouts(mut status: Value) -> Value {
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|name, _| ["podIP", "podIPs", "phase"].contains(&name.as_str()));
    }
    status
}

/// serde_path_to_error writes `.` for the root.
fn clean_path(path: &str) -> String {
    if path == "." { String::new() } else { path.to_owned() }
}

/// serde's sentence in ours.
fn explain(message: &str) -> String {
    let parts: Vec<&str> = message.split('`').collect();
    match parts.as_slice() {
        [start, value, _, allowed @ ..] if start.starts_with("unknown variant") => {
            let allowed: Vec<&str> = allowed.iter().step_by(2).copied().filter(|it| !it.is_empty()).collect();
            let guess = suggest::closest(value, allowed.iter().copied())
                .map(|it| format!("; did you mean {it}?"))
                .unwrap_or_default();
            format!("unknown value {value:?}; allowed: {}{guess}", allowed.join(", "))
        }
        [start, field, ..] if start.starts_with("missing field") => {
            format!("field {field:?} is missing; add it")
        }
        [start, ..]
            if start.ends_with(" ")
                && ["boolean", "integer", "floating point"].iter().any(|it| start.contains(it))
                && message.ends_with("expected a string") =>
        {
            format!("{message}; put the value in quotes")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Object, ParseError, Parsed};
    use crate::Kind;
    use serde_json::json;

    fn parse(value: serde_json::Value) -> Result<Parsed, ParseError> {
        Object::parse(value, "default")
    }

    #[test]
    fn an_object_gets_the_default_namespace_and_its_unknown_fields_are_named() {
        let parsed = parse(json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute",
            "metadata": {"name": "cart"},
            "spec": {"rules": [{"matchs": [{"path": {"value": "/"}}], "backendRefs": [{"name": "a", "prot": 80}]}]},
            "status": {"anything": 1},
        }))
        .unwrap();
        let Parsed::Known { object, unknown_fields } = &parsed else { panic!("{parsed:?}") };
        assert_eq!(object.reference().to_string(), "HTTPRoute default/cart");
        assert_eq!(unknown_fields, &["spec.rules[0].backendRefs[0].prot", "spec.rules[0].matchs"]);
        assert_eq!(parsed.suggestion("spec.rules[0].matchs").as_deref(), Some("matches"));
        assert_eq!(parsed.suggestion("spec.rules[0].backendRefs[0].prot").as_deref(), Some("port"));
    }

    #[test]
    fn a_wrong_value_names_the_field_and_what_is_allowed() {
        let error = parse(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"rules": [{"matches": [{"path": {"type": "PathPrefx", "value": "/"}}]}]},
        }))
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "HTTPRoute shop/cart: spec.rules[0].matches[0].path.type: unknown value \"PathPrefx\"; \
             allowed: Exact, PathPrefix, RegularExpression; did you mean PathPrefix?"
        );
    }

    #[test]
    fn a_missing_field_and_a_wrong_type_are_errors_with_their_place() {
        let error = parse(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"},
            "spec": {"gatewayClassName": "sluice", "listeners": [{"name": "http", "port": "eighty", "protocol": "HTTP"}]},
        }))
        .unwrap_err();
        assert_eq!(error.path, "spec.listeners[0].port");
        let error = parse(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "web"},
            "spec": {"listeners": []},
        }))
        .unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.message.as_str()),
            ("spec", "field \"gatewayClassName\" is missing; add it")
        );
    }

    #[test]
    fn other_kinds_are_ignored_and_slips_are_not() {
        let of = |api_version: &str, kind: &str| {
            parse(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}}))
        };
        assert!(matches!(of("apps/v1", "Deployment"), Ok(Parsed::Ignored { .. })));
        assert!(matches!(of("serving.knative.dev/v1", "Service"), Ok(Parsed::Ignored { .. })));
        assert!(matches!(of("networking.istio.io/v1", "EnvoyFilter"), Ok(Parsed::Ignored { .. })));
        let message = |api_version: &str, kind: &str| of(api_version, kind).unwrap_err().to_string();
        assert!(message("gateway.networking.k8s.io/v1", "HttpRoute").contains("did you mean HTTPRoute?"));
        assert!(
            message("gateway.networking.k8s.io/v7", "HTTPRoute").contains("use gateway.networking.k8s.io/v1")
        );
        assert!(message("v1", "HTTPRoute").contains("HTTPRoute is in gateway.networking.k8s.io/v1"));
        assert!(parse(json!([1])).is_err());
        assert!(parse(json!({"kind": "Service"})).is_err());
        assert!(of("v1", "Service").is_ok());
    }

    #[test]
    fn what_a_server_gives_may_have_fields_that_we_do_not_know_but_no_such_values() {
        let route = |kind: &str| {
            json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "metadata": {"name": "cart", "namespace": "shop"},
                   "spec": {"novelty": {"a": 1}, "rules": [{"matches": [{"path": {"type": kind, "value": "/"}}]}]},
                   "status": {"parents": "unread"}})
        };
        let read = Object::read(Kind::HttpRoute, route("Exact")).unwrap();
        assert_eq!(read.reference().to_string(), "HTTPRoute shop/cart");
        let error = Object::read(Kind::HttpRoute, route("Fuzzy")).unwrap_err();
        assert_eq!(error.path, "spec.rules[0].matches[0].path.type");
        assert!(Object::read(Kind::Service, json!({"metadata": {}})).is_err());
        assert!(
            Object::read(Kind::Service, json!({"metadata": {"name": "web", "namespace": "shop"}})).is_ok()
        );
    }

    #[test]
    fn core_kinds_are_read_in_every_served_version() {
        let parsed = parse(json!({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "ServiceEntry", "metadata": {"name": "web"},
            "spec": {"hosts": ["localhost"], "resolution": "STATIC", "ports": [{"number": 80, "name": "http", "protocl": "HTTP"}],
                     "endpoints": [{"address": "127.0.0.1", "ports": {"http": 3000}}]},
        }))
        .unwrap();
        let Parsed::Known { unknown_fields, .. } = parsed else { panic!("{parsed:?}") };
        assert_eq!(unknown_fields, ["spec.ports[0].protocl"]);
        let secret = parse(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
                                  "data": {"tls.crt": "aGk="}, "dta": {"a": "b"}}))
        .unwrap();
        let Parsed::Known { unknown_fields, .. } = secret else { panic!("{secret:?}") };
        assert_eq!(unknown_fields, ["dta"]);
    }

    #[test]
    fn of_a_status_only_addresses_of_a_service_entry_are_read_and_none_is_an_error() {
        let entry = |status: serde_json::Value| {
            let value = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "a"},
                               "spec": {"hosts": ["a.test"]}, "status": status});
            let Ok(Parsed::Known { object: Object::ServiceEntry(it), unknown_fields }) =
                Object::parse(value, "n")
            else {
                panic!("not read")
            };
            assert!(unknown_fields.is_empty(), "{unknown_fields:?}");
            it.status.map(|it| it.addresses.into_iter().map(|it| (it.host, it.value)).collect::<Vec<_>>())
        };
        let pair = |host: &str, value: &str| (host.to_owned(), value.to_owned());
        assert_eq!(
            entry(
                json!({"conditions": [1], "addresses": [{"host": "a.test", "value": "240.240.0.1", "more": 1}, {"host": 1}, 7]})
            ),
            Some(vec![pair("a.test", "240.240.0.1")])
        );
        for nothing in [json!(null), json!(7), json!({}), json!({"addresses": "x"})] {
            assert_eq!(entry(nothing.clone()), None, "{nothing}");
        }
    }
}

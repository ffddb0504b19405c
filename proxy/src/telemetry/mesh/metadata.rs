//! What proxies tell each other of their workloads: Istio's metadata exchange.
//!
//! `x-envoy-peer-metadata` holds a `google.protobuf.Struct` in base64, `x-envoy-peer-metadata-id` the name of the proxy.
//! A client's proxy sends both with a request, a server's with the answer. Only what comes over the mesh's own TLS is
//! believed, and the namespace only if the peer's identity says the same; what an application or somebody outside sends is
//! taken away. Read strictly and within bounds: a peer may send anything.
//!
//! Istio's proxies say so with each request. Ours say so once for each connection: `x-sluice-peer` asks the other
//! side to remember it, and in its answer says that it does. Whoever does not know the field answers as to Istio's, and is told
//! every time. To one of ours no answer tells who answers: it knows from the control plane.

use super::party::{OwnWorkload, Party, namespace_of};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use prost::Message as _;
use std::cell::RefCell;
use std::sync::Arc;

/// The field with the workload.
pub(crate) const METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
/// The field with the proxy's name.
pub(crate) const METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// The field by which proxies of ours agree to say so once.
pub(crate) const MEMORY: HeaderName = HeaderName::from_static("x-sluice-peer");
/// All of them: no application and nobody outside gets or sends any.
pub(crate) const FIELDS: [HeaderName; 3] = [METADATA, METADATA_ID, MEMORY];

/// A longer field is not read.
const MOST_BYTES: usize = 8 * 1024;
/// Longer texts within are not taken: a label's value has 63 bytes, a name 253.
const MOST_TEXT: usize = 253;
/// Fields that a thread remembers what they say.
const RECENT: usize = 32;

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: std::collections::BTreeMap<String, Value>,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::Text(value.to_owned())) }
}

/// Both fields of a workload, written once.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// `METADATA`
    pub metadata: HeaderValue,
    /// `METADATA_ID`
    pub id: HeaderValue,
}

impl Introduction {
    /// What `own` tells of itself; `None` where its names are none that a field can hold.
    pub fn of(own: &OwnWorkload) -> Option<Self> {
        let workload = &own.workload;
        let labels = [
            ("app", &workload.app),
            ("version", &workload.version),
            ("service.istio.io/canonical-name", &workload.canonical_service),
            ("service.istio.io/canonical-revision", &workload.canonical_revision),
        ];
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let labels = Struct { fields: labels.map(|(name, value)| (name.to_owned(), text(value))).collect() };
        let fields = [
            ("CLUSTER_ID", text(&own.cluster)),
            ("LABELS", Value { kind: Some(Kind::Struct(labels)) }),
            ("MESH_ID", text(&own.mesh)),
            ("NAME", text(&own.pod)),
            ("NAMESPACE", text(&workload.namespace)),
            ("SERVICE_ACCOUNT", text(&workload.service_account)),
            ("WORKLOAD_NAME", text(&workload.name)),
        ];
        let all =
            Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() };
        let metadata = HeaderValue::try_from(BASE64_STANDARD.encode(all.encode_to_vec())).ok()?;
        Some(Self { metadata, id: HeaderValue::try_from(own.node_id()).ok()? })
    }
}

/// Reads a field of a peer that has proven `identity`; `None` for what can't be understood, or contradicts it.
fn read(field: &[u8], identity: &str) -> Option<Party> {
    if field.len() > MOST_BYTES {
        return None;
    }
    let all = Struct::decode(&*BASE64_STANDARD.decode(field).ok()?).ok()?;
    let namespace = namespace_of(identity)?;
    if of(&all, "NAMESPACE") != namespace {
        return None;
    }
    let none = Struct::default();
    let labels = match all.fields.get("LABELS").and_then(|it| it.kind.as_ref()) {
        Some(Kind::Struct(labels)) => labels,
        _ => &none,
    };
    let first = |names: &[&str]| names.iter().map(|name| of(labels, name)).find(|it| !it.is_empty());
    let workload = of(&all, "WORKLOAD_NAME");
    let service = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    Some(Party {
        workload: workload.into(),
        namespace: namespace.into(),
        principal: identity.into(),
        app: of(labels, "app").into(),
        version: of(labels, "version").into(),
        canonical_service: service.unwrap_or(workload).into(),
        canonical_revision: revision.unwrap_or("latest").into(),
        cluster: of(&all, "CLUSTER_ID").into(),
    })
}

/// A text of a Struct; empty for what is none, or too long.
fn of<'a>(from: &'a Struct, name: &str) -> &'a str {
    match from.fields.get(name).and_then(|it| it.kind.as_ref()) {
        Some(Kind::Text(text)) if text.len() <= MOST_TEXT => text,
        _ => "",
    }
}

/// What a thread has read, by the bytes.
struct Read {
    field: Box<[u8]>,
    identity: Box<str>,
    party: Arc<Party>,
}

thread_local! {
    static READ: RefCell<[Option<Read>; RECENT]> = const { RefCell::new([const { None }; RECENT]) };
}

/// Who sent a field and has proven `identity`: as the field says, where it can be understood; else the identity alone.
/// Cost: a comparison with the fields that the thread has read before; the first time it is decoded.
pub(crate) fn party(field: Option<&HeaderValue>, identity: &str) -> Arc<Party> {
    let bytes = field.map(HeaderValue::as_bytes).unwrap_or_default();
    let slot = slot(bytes, identity);
    let known = READ.try_with(|read| {
        let read = read.borrow();
        let known = read[slot].as_ref()?;
        (*known.field == *bytes && *known.identity == *identity).then(|| known.party.clone())
    });
    if let Ok(Some(party)) = known {
        return party;
    }
    let party = Arc::new(read(bytes, identity).unwrap_or_else(|| Party::of_identity(identity)));
    if bytes.len() <= MOST_BYTES {
        let new = Read { field: bytes.into(), identity: identity.into(), party: party.clone() };
        let _ = READ.try_with(|read| read.borrow_mut()[slot] = Some(new));
    }
    party
}

/// Fields of different workloads differ near their end at the latest.
fn slot(field: &[u8], identity: &str) -> usize {
    let tail = field.len().saturating_sub(64);
    let bytes = field.get(tail..).unwrap_or_default().iter().chain(identity.as_bytes());
    let hash =
        bytes.fold(field.len() as u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash as usize % RECENT
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    const IDENTITY: &str = "spiffe://cluster.local/ns/shop/sa/web";

    fn own() -> OwnWorkload {
        let labels = [("app", "web"), ("version", "v2")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        OwnWorkload::new("shop", "web", "web-1-a", Some("web-1"), BTreeMap::from(labels))
    }

    #[test]
    fn a_proxy_understands_what_another_tells_of_itself() {
        let told = Introduction::of(&own()).unwrap();
        let party = party(Some(&told.metadata), IDENTITY);
        let mut expected = Party::of(&own().workload, "cluster.local", "Kubernetes");
        expected.principal = IDENTITY.into();
        assert_eq!(*party, expected);
        assert!(Arc::ptr_eq(&party, &super::party(Some(&told.metadata), IDENTITY)), "read once");
    }

    #[test]
    fn a_field_that_contradicts_the_identity_is_not_believed() {
        let told = Introduction::of(&own()).unwrap();
        let other = "spiffe://cluster.local/ns/bank/sa/web";
        assert_eq!(*party(Some(&told.metadata), other), Party::of_identity(other));
    }

    #[test]
    fn garbage_is_the_identity_alone() {
        let long = "A".repeat(MOST_BYTES + 4);
        for garbage in ["", "%%%", "AAAA", "CgUKA2Zvbw==", &long] {
            let field = HeaderValue::from_str(garbage).unwrap();
            assert_eq!(*party(Some(&field), IDENTITY), Party::of_identity(IDENTITY), "{garbage:.20}");
        }
        assert_eq!(*party(None, IDENTITY), Party::of_identity(IDENTITY));
    }

    /// As Istio 1.2x writes it: with an owner, instance addresses and more labels.
    #[test]
    fn fields_that_are_not_known_are_passed_over() {
        let mut all =
            Struct::decode(&*BASE64_STANDARD.decode(Introduction::of(&own()).unwrap().metadata).unwrap())
                .unwrap();
        let list = List { values: vec![text("10.0.0.1"), Value { kind: Some(Kind::Number(1.0)) }] };
        all.fields.insert("INSTANCE_IPS".to_owned(), Value { kind: Some(Kind::List(list)) });
        all.fields.insert("APP_CONTAINERS".to_owned(), Value { kind: Some(Kind::Null(0)) });
        all.fields
            .insert("OWNER".to_owned(), text("kubernetes://apis/apps/v1/namespaces/shop/deployments/web"));
        let field = HeaderValue::try_from(BASE64_STANDARD.encode(all.encode_to_vec())).unwrap();
        assert_eq!(&*party(Some(&field), IDENTITY).workload, "web-1");
    }
}

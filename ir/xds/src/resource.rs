//! Between resources of the IR and their messages.

use crate::{Any, Resource};
use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sluice_ir::{self as ir, ResourceKind, wire};

/// In front of the kind in a type URL.
const TYPE_PREFIX: &str = "type.sluice.dev/ir.v1.";

/// Type URL of [`Refusal`].
const REFUSAL: &str = "type.sluice.dev/sync.v1.Refusal";

/// Longest text of a refusal, in bytes.
const LONGEST_REFUSAL: usize = 1024;

/// `type.sluice.dev/ir.v1.Route`.
pub fn type_url(kind: ResourceKind) -> String {
    format!("{TYPE_PREFIX}{kind}")
}

/// The kind of a type URL.
pub fn kind_of(type_url: &str) -> Option<ResourceKind> {
    ResourceKind::parse(type_url.strip_prefix(TYPE_PREFIX)?)
}

/// A resource in its wire form. A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The beginning of the SHA-256 of `bytes`: the same wherever the same version of Sluice writes the resource.
    pub version: u64,
    /// The wire form.
    pub bytes: Bytes,
}

impl Packed {
    /// Writes a resource.
    ///
    /// # Errors
    /// See [`wire::encode`].
    pub fn new(resource: &ir::Resource) -> Result<Self, wire::WireError> {
        let bytes = Bytes::from(wire::encode(resource)?);
        let digest = Sha256::digest(&bytes);
        let version = digest.iter().take(8).fold(0, |version, byte| version << 8 | u64::from(*byte));
        Ok(Self { version, bytes })
    }

    /// The message that carries it.
    pub fn message(&self, key: &ir::ResourceKey) -> Resource {
        Resource {
            version: format!("{:016x}", self.version),
            resource: Some(Any { type_url: type_url(key.kind()), value: self.bytes.clone() }),
            name: key.as_str().to_owned(),
        }
    }
}

/// Why a message holds no resource that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// It has no body, or one of another type.
    #[error("the message holds no {0}")]
    Empty(ResourceKind),
    /// The body can't be read.
    #[error("{0}")]
    Wire(#[from] wire::WireError),
    /// The name and the key within differ.
    #[error("the message is named otherwise than its resource")]
    Name,
}

/// Reads the resource of a message, and its version (0 for one that is not ours: it never equals).
///
/// # Errors
/// When the message holds nothing that this version can use.
pub fn unpack(kind: ResourceKind, message: &Resource) -> Result<(ir::Resource, u64), UnpackError> {
    let body = message.resource.as_ref().filter(|body| kind_of(&body.type_url) == Some(kind));
    let body = body.ok_or(UnpackError::Empty(kind))?;
    let resource = wire::decode(kind, &body.value)?;
    if resource.key().as_str() != message.name {
        return Err(UnpackError::Name);
    }
    Ok((resource, u64::from_str_radix(&message.version, 16).unwrap_or_default()))
}

/// A resource that a data plane can't take over, or a listener that it can't serve.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refusal {
    /// Kind of the resource.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Its key.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Why.
    #[prost(string, tag = "3")]
    pub message: String,
}

impl Refusal {
    /// Of a resource; the text is cut to a bounded length.
    pub fn new(key: &ir::ResourceKey, message: &str) -> Self {
        let end = message.floor_char_boundary(LONGEST_REFUSAL);
        Self {
            type_url: type_url(key.kind()),
            name: key.as_str().to_owned(),
            message: message[..end].to_owned(),
        }
    }

    /// The resource; `None` for a kind that is unknown here.
    pub fn key(&self) -> Option<ir::ResourceKey> {
        Some(kind_of(&self.type_url)?.key(&self.name))
    }

    /// As a detail of an error.
    pub fn to_any(&self) -> Any {
        Any { type_url: REFUSAL.to_owned(), value: self.encode_to_vec().into() }
    }

    /// From a detail of an error; `None` for one of another type.
    pub fn from_any(any: &Any) -> Option<Self> {
        let refusal = Self::decode(any.value.clone()).ok()?;
        (any.type_url == REFUSAL && refusal.message.len() <= LONGEST_REFUSAL).then_some(refusal)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Packed, Refusal, UnpackError, kind_of, type_url, unpack};
    use sluice_ir::{self as ir, ResourceKind};
    use std::sync::Arc;

    fn backend(protocol: ir::BackendProtocol) -> ir::Resource {
        ir::Resource::Backend(Arc::new(ir::Backend {
            key: ir::BackendKey::new("Service/shop/cart:80"),
            origin: ir::Origin::new("Service", "shop", "cart"),
            protocol,
            endpoints: ir::EndpointSetKey::new("Service/shop/cart:80"),
            tls: None,
            policy: None,
            health: None,
            mesh: ir::MeshTls::Off,
        }))
    }

    #[test]
    fn each_kind_has_a_type_url_of_its_own() {
        for kind in ResourceKind::ALL {
            assert_eq!(kind_of(&type_url(kind)), Some(kind));
        }
        assert_eq!(type_url(ResourceKind::EndpointSet), "type.sluice.dev/ir.v1.EndpointSet");
        assert_eq!(kind_of("type.googleapis.com/envoy.config.route.v3.RouteConfiguration"), None);
    }

    #[test]
    fn the_version_is_a_hash_of_the_resource() {
        let resource = backend(ir::BackendProtocol::Http1);
        let packed = Packed::new(&resource).unwrap();
        assert_eq!(packed, Packed::new(&resource).unwrap());
        assert_ne!(packed.version, Packed::new(&backend(ir::BackendProtocol::H2c)).unwrap().version);
        let message = packed.message(&resource.key());
        assert_eq!(unpack(ResourceKind::Backend, &message).unwrap(), (resource, packed.version));
    }

    #[test]
    fn a_message_that_lies_about_its_resource_is_refused() {
        let resource = backend(ir::BackendProtocol::Http1);
        let mut message = Packed::new(&resource).unwrap().message(&resource.key());
        assert_eq!(
            unpack(ResourceKind::Route, &message).unwrap_err(),
            UnpackError::Empty(ResourceKind::Route)
        );
        message.name = "Service/shop/other:80".to_owned();
        assert_eq!(unpack(ResourceKind::Backend, &message).unwrap_err(), UnpackError::Name);
    }

    #[test]
    fn a_refusal_keeps_its_resource_and_a_bounded_text() {
        let key = ResourceKind::Listener.key("Gateway/shop/web/http");
        let refusal = Refusal::new(&key, &"ö".repeat(2000));
        assert_eq!(refusal.message.len(), 1024);
        assert_eq!(Refusal::from_any(&refusal.to_any()), Some(refusal.clone()));
        assert_eq!(refusal.key(), Some(key));
    }
}

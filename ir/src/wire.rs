//! The form in which a resource travels to a data plane and rests on its disk: MessagePack with field names.
//!
//! Chosen over JSON because it carries bytes as they are and is smaller and faster to read; over formats without
//! field names because a control plane of one version serves data planes of the version before and after:
//!
//! * a field that the reader does not know is skipped;
//! * a field that the writer did not know gets its default, so that **every field added after the first release has
//!   one** (`#[serde(default)]` on the field or its type);
//! * a variant that the reader does not know makes this one resource undecodable: the reader says so and keeps the
//!   version it has.
//!
//! It is also the only form that holds secrets: [`SecretBytes`](crate::SecretBytes) and [`Password`](crate::Password) write their bytes to binary
//! forms and a fingerprint to all others. The bytes of one resource are always the same, so that a hash of them is
//! its version on every replica of a control plane.

use crate::{Resource, ResourceKind};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// Why a resource can't be written or read. Never repeats what the resource holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError(String);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

/// Writes a resource.
///
/// # Errors
/// None that a resource of this crate can cause; the encoder's are passed on.
pub fn encode(resource: &Resource) -> Result<Vec<u8>, WireError> {
    let encoded = match resource {
        Resource::Certificate(it) => rmp_serde::to_vec_named(&**it),
        Resource::EndpointSet(it) => rmp_serde::to_vec_named(&**it),
        Resource::Backend(it) => rmp_serde::to_vec_named(&**it),
        Resource::Gateway(it) => rmp_serde::to_vec_named(&**it),
        Resource::Challenge(it) => rmp_serde::to_vec_named(&**it),
        Resource::Listener(it) => rmp_serde::to_vec_named(&**it),
        Resource::Route(it) => rmp_serde::to_vec_named(&**it),
        Resource::StreamRoute(it) => rmp_serde::to_vec_named(&**it),
        Resource::Workloads(it) => rmp_serde::to_vec_named(&**it),
    };
    encoded.map_err(|error| WireError(error.to_string()))
}

/// Reads a resource.
///
/// # Errors
/// When the bytes are no resource of this kind, or one that this version does not understand; the text names the
/// field.
pub fn decode(kind: ResourceKind, bytes: &[u8]) -> Result<Resource, WireError> {
    Ok(match kind {
        ResourceKind::Certificate => Resource::Certificate(read(bytes)?),
        ResourceKind::EndpointSet => Resource::EndpointSet(read(bytes)?),
        ResourceKind::Backend => Resource::Backend(read(bytes)?),
        ResourceKind::Gateway => Resource::Gateway(read(bytes)?),
        ResourceKind::Challenge => Resource::Challenge(read(bytes)?),
        ResourceKind::Listener => Resource::Listener(read(bytes)?),
        ResourceKind::Route => Resource::Route(read(bytes)?),
        ResourceKind::StreamRoute => Resource::StreamRoute(read(bytes)?),
        ResourceKind::Workloads => Resource::Workloads(read(bytes)?),
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Arc<T>, WireError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    match build(<dyn erased_serde::Deserializer>::erase(&mut reader)) {
        Ok(value) => Ok(Arc::new(value)),
        Err(_) => Err(explain::<T>(bytes)),
    }
}

/// Builds a value from whatever reader: the code of a type is there once, and the readers' once, where each pair of both
/// would be several megabytes of program.
fn build<'de, T: DeserializeOwned>(
    mut reader: impl erased_serde::Deserializer<'de>,
) -> erased_serde::Result<T> {
    T::deserialize(&mut reader as &mut dyn erased_serde::Deserializer)
}

/// Reads once more, slowly, to say where it goes wrong.
fn explain<T: DeserializeOwned>(bytes: &[u8]) -> WireError {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    match build::<T>(<dyn erased_serde::Deserializer>::erase(tracked)) {
        Ok(_) => WireError("it could not be read".to_owned()),
        Err(error) => WireError(format!("{}: {error}", track.path())),
    }
}

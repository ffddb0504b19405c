//! Resources in a file: each in its wire form with its length in front. One that is gone has a body without bytes.

use anyhow::Result;
use bytes::Bytes;
use prost::Message as _;
use sluice_ir::{Resource, ResourceKey};
use sluice_xds::{Any, Packed, kind_of, type_url, unpack};
use std::collections::HashMap;
use std::io::Write;

/// What is kept, with the version of each.
pub(super) type Kept = HashMap<ResourceKey, (Resource, u64)>;

/// Writes a resource.
pub(super) fn put(to: &mut impl Write, resource: &Resource) -> Result<()> {
    // The version of what is written, not of what came: a newer controller's fields that were not understood are
    // not in the file, and must be sent again to who understands them.
    let message = Packed::new(resource)?.message(&resource.key());
    to.write_all(&message.encode_length_delimited_to_vec())?;
    Ok(())
}

/// Writes that a resource is gone.
pub(super) fn put_removal(to: &mut impl Write, key: &ResourceKey) -> Result<()> {
    let body = Any { type_url: type_url(key.kind()), value: Bytes::new() };
    let message = sluice_xds::Resource {
        name: key.as_str().to_owned(),
        resource: Some(body),
        ..sluice_xds::Resource::default()
    };
    to.write_all(&message.encode_length_delimited_to_vec())?;
    Ok(())
}

/// Takes over what was written, in its order. What this version of Sluice can't read changes nothing: the controller
/// sends it again.
pub(super) fn read_into(kept: &mut Kept, mut bytes: Bytes) -> Result<()> {
    while !bytes.is_empty() {
        let message = sluice_xds::Resource::decode_length_delimited(&mut bytes)?;
        let Some(body) = &message.resource else { continue };
        let Some(kind) = kind_of(&body.type_url) else { continue };
        if body.value.is_empty() {
            kept.remove(&kind.key(&message.name));
            continue;
        }
        match unpack(kind, &message) {
            Ok((resource, version)) => drop(kept.insert(resource.key(), (resource, version))),
            Err(error) => {
                tracing::warn!(resource = message.name, %error, "a resource of the disk can't be read")
            }
        }
    }
    Ok(())
}

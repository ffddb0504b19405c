#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Disk, Edits, changes};
use proptest::prelude::*;
use sluice_ir::{self as ir, Resource, ResourceKey};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

const WHOLE: &str = "snapshot";

fn certificate(name: &str, key: &[u8]) -> Resource {
    Resource::Certificate(Arc::new(ir::Certificate {
        key: ir::CertificateKey::new(format!("Secret/shop/{name}")),
        origin: ir::Origin::new("Secret", "shop", name),
        names: vec!["shop.example".to_owned()],
        chain: ir::SecretBytes::new(b"chain".to_vec()),
        private_key: ir::SecretBytes::new(key.to_vec()),
        staple: None,
        on_demand: None,
    }))
}

fn set(name: &str) -> Resource {
    Resource::EndpointSet(Arc::new(ir::EndpointSet {
        is_external: false,
        takes_first: false,
        asked: None,
        key: ir::EndpointSetKey::new(format!("Service/shop/{name}:80")),
        origin: ir::Origin::new("Service", "shop", name),
        endpoints: Vec::new(),
    }))
}

fn snapshot() -> ir::Snapshot {
    let mut snapshot = ir::Snapshot::default();
    let upserts = vec![certificate("tls", b"key"), set("cart")];
    snapshot.apply(&ir::Delta { upserts, removals: Vec::new() });
    snapshot
}

fn disk(directory: &Path) -> Disk {
    Disk::new(directory, &ir::GatewayKey::new("shop/web"))
}

fn edits(edits: impl IntoIterator<Item = (ResourceKey, Option<Resource>)>) -> Edits {
    edits.into_iter().collect()
}

fn upsert(resource: Resource) -> (ResourceKey, Option<Resource>) {
    (resource.key(), Some(resource))
}

/// What a process that starts now serves.
fn restored(directory: &Path) -> ir::Snapshot {
    let restored = disk(directory).load().unwrap().unwrap();
    assert_eq!(restored.versions.len(), restored.delta.upserts.len());
    let mut snapshot = ir::Snapshot::default();
    snapshot.apply(&restored.delta);
    snapshot
}

#[test]
fn what_is_saved_is_read_back_and_only_the_owner_may_read_it() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new");
    assert!(disk(&directory).load().unwrap().is_none());
    for _ in 0..2 {
        disk(&directory).save(&Edits::new(), snapshot).unwrap();
    }
    assert_eq!(restored(&directory), snapshot());
    for file in [WHOLE, changes::FILE] {
        let mode = std::fs::metadata(directory.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2);
}

#[test]
fn a_change_is_added_and_the_whole_is_not_written_again() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = disk(place.path());
    disk.save(&Edits::new(), snapshot).unwrap();
    let whole = std::fs::metadata(place.path().join(WHOLE)).unwrap();
    let gone = ir::CertificateKey::new("Secret/shop/tls");
    let changed = edits([upsert(set("new")), (ResourceKey::Certificate(gone), None)]);
    disk.save(&changed, || panic!("a small change")).unwrap();
    assert_eq!(std::fs::metadata(place.path().join(WHOLE)).unwrap().ino(), whole.ino());
    let now = restored(place.path());
    assert!(now.certificates.is_empty());
    assert_eq!(now.endpoint_sets.len(), 2);
}

#[test]
fn changes_as_long_as_the_whole_are_followed_by_a_new_whole() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = disk(place.path());
    let mut now = snapshot();
    disk.save(&Edits::new(), || now.clone()).unwrap();
    let (mut wholes, mut longest) = (0, 0);
    for number in 0..200_u8 {
        let resource = certificate("tls", &vec![number; 4_096]);
        now.apply(&ir::Delta { upserts: vec![resource.clone()], removals: Vec::new() });
        disk.save(&edits([upsert(resource)]), || {
            wholes += 1;
            now.clone()
        })
        .unwrap();
        longest = longest.max(std::fs::metadata(place.path().join(changes::FILE)).unwrap().len());
    }
    assert!((5..20).contains(&wholes), "{wholes}");
    assert!(longest < 80_000, "{longest}");
    assert_eq!(restored(place.path()), now);
}

#[test]
fn a_whole_that_is_not_whole_or_not_ours_is_not_used() {
    let place = tempfile::tempdir().unwrap();
    disk(place.path()).save(&Edits::new(), snapshot).unwrap();
    let path = place.path().join(WHOLE);
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 10, 40, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(disk(place.path()).load().is_err(), "{length}");
    }
    let mut damaged = whole.clone();
    damaged[50] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(disk(place.path()).load().is_err());
    std::fs::write(&path, &whole).unwrap();
    assert!(disk(place.path()).load().unwrap().is_some());
    let other = Disk::new(place.path(), &ir::GatewayKey::new("shop/other"));
    let error = format!("{:#}", other.load().unwrap_err());
    assert!(error.contains("another Gateway"), "{error}");
}

#[test]
fn changes_of_another_whole_are_not_used() {
    let place = tempfile::tempdir().unwrap();
    let mut first = disk(place.path());
    first.save(&Edits::new(), snapshot).unwrap();
    first.save(&edits([upsert(set("old"))]), || panic!("a small change")).unwrap();
    let stale = std::fs::read(place.path().join(changes::FILE)).unwrap();
    // Another whole was written, and the process ended before it began the changes anew.
    let mut second = snapshot();
    second.apply(&ir::Delta { upserts: vec![set("newer")], removals: Vec::new() });
    disk(place.path()).save(&Edits::new(), || second.clone()).unwrap();
    std::fs::write(place.path().join(changes::FILE), stale).unwrap();
    assert_eq!(restored(place.path()), second);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A file that ends anywhere, or has a bit that is wrong, gives a state that was saved once.
    #[test]
    fn whatever_happens_to_the_changes_what_is_read_was_saved_once(
        names in proptest::collection::vec((0..4_u8, any::<bool>()), 1..8),
        at in any::<proptest::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let place = tempfile::tempdir().unwrap();
        let mut disk = disk(place.path());
        let mut now = snapshot();
        disk.save(&Edits::new(), snapshot).unwrap();
        let mut states = vec![now.clone()];
        for (name, is_there) in names {
            let resource = set(&name.to_string());
            let delta = if is_there {
                ir::Delta { upserts: vec![resource.clone()], removals: Vec::new() }
            } else {
                ir::Delta { upserts: Vec::new(), removals: vec![resource.key()] }
            };
            now.apply(&delta);
            states.push(now.clone());
            let edit = is_there.then(|| resource.clone());
            disk.save(&edits([(resource.key(), edit)]), || now.clone()).unwrap();
        }
        prop_assert_eq!(restored(place.path()), now);
        let path = place.path().join(changes::FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 0x10 }
        std::fs::write(&path, bytes).unwrap();
        prop_assert!(states.contains(&restored(place.path())));
    }
}

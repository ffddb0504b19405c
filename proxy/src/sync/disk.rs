//! The last good configuration on the disk.
//!
//! The file begins with a line that says what it is and for which Gateway; then come the resources in their wire form,
//! each with its length in front, and at the end the SHA-256 of all before. It holds private keys: only the owner may
//! read it. It is replaced by renaming, so that it is whole at any time, and a file that is not whole is not used.

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sluice_ir::{self as ir, Resource, ResourceKey};
use sluice_xds::{Packed, kind_of, unpack};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// First word of the file.
const FORMAT: &str = "sluice-snapshot-1";
/// Name of the file.
const FILE: &str = "snapshot";
/// Longest file that is read.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of the checksum.
const SUM: usize = 32;

/// Where the configuration rests.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    gateway: ir::GatewayKey,
}

/// What was on the disk.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) delta: ir::Delta,
    pub(super) versions: HashMap<ResourceKey, u64>,
}

impl Disk {
    pub(super) fn new(directory: &Path, gateway: &ir::GatewayKey) -> Self {
        Self { directory: directory.to_owned(), gateway: gateway.clone() }
    }

    /// Reads the configuration; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// When it can't be read, is not whole or is another Gateway's. A resource that this version of Sluice can't read
    /// is left out: the controller sends it again.
    pub(super) fn load(&self) -> Result<Option<Restored>> {
        let path = self.directory.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let mut bytes = Vec::new();
        let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
        read.with_context(|| path.display().to_string())?;
        if bytes.len() as u64 > MOST_BYTES {
            bail!("{} is too long", path.display());
        }
        self.parse(bytes).with_context(|| path.display().to_string()).map(Some)
    }

    fn parse(&self, mut bytes: Vec<u8>) -> Result<Restored> {
        let length = bytes.len().checked_sub(SUM).context("the file is not whole")?;
        let sum = bytes.split_off(length);
        if Sha256::digest(&bytes)[..] != sum[..] {
            bail!("the file is not whole");
        }
        let head = self.head();
        if !bytes.starts_with(head.as_bytes()) {
            bail!("the file is that of another Gateway or another format");
        }
        let mut rest = bytes::Bytes::from(bytes).slice(head.len()..);
        let mut restored = Restored::default();
        while !rest.is_empty() {
            let message = sluice_xds::Resource::decode_length_delimited(&mut rest)?;
            let type_url = message.resource.as_ref().map(|body| body.type_url.as_str()).unwrap_or_default();
            let Some(kind) = kind_of(type_url) else { continue };
            match unpack(kind, &message) {
                Ok((resource, version)) => {
                    restored.versions.insert(resource.key(), version);
                    restored.delta.upserts.push(resource);
                }
                Err(error) => {
                    tracing::warn!(resource = message.name, %error, "a resource of the disk can't be read");
                }
            }
        }
        Ok(restored)
    }

    /// Replaces the configuration. Blocks.
    ///
    /// # Errors
    /// When the folder can't be written; what was there stays.
    pub(super) fn save(&self, snapshot: &ir::Snapshot) -> Result<()> {
        let named = || self.directory.display().to_string();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).with_context(named)?;
        let (whole, part) = (self.directory.join(FILE), self.directory.join(format!("{FILE}.new")));
        // One that an earlier process left behind may have any mode.
        match std::fs::remove_file(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(named);
            }
            Ok(()) | Err(_) => {}
        }
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).with_context(named)?;
        self.write(&file, snapshot).with_context(named)?;
        file.sync_all().with_context(named)?;
        std::fs::rename(&part, &whole).with_context(named)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).with_context(named)
    }

    fn write(&self, file: &File, snapshot: &ir::Snapshot) -> Result<()> {
        let mut to = Summed { inner: BufWriter::with_capacity(64 * 1024, file), sum: Sha256::new() };
        to.put(self.head().as_bytes())?;
        let all = ir::Snapshot::default().delta_to(snapshot);
        for resource in &all.upserts {
            self.put(&mut to, resource)?;
        }
        let sum = to.sum.finalize();
        to.inner.write_all(&sum)?;
        to.inner.flush()?;
        Ok(())
    }

    fn put(&self, to: &mut Summed<impl Write>, resource: &Resource) -> Result<()> {
        // The version of what is written, not of what came: a newer controller's fields that were not understood are
        // not in the file, and must be sent again to who understands them.
        let message = Packed::new(resource)?.message(&resource.key());
        to.put(&message.encode_length_delimited_to_vec())?;
        Ok(())
    }

    fn head(&self) -> String {
        format!("{FORMAT} {}\n", self.gateway)
    }
}

struct Summed<W> {
    inner: W,
    sum: Sha256,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.inner.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Disk, FILE};
    use sluice_ir as ir;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;
    use std::sync::Arc;

    fn snapshot() -> ir::Snapshot {
        let mut snapshot = ir::Snapshot::default();
        let certificate = ir::Certificate {
            key: ir::CertificateKey::new("Secret/shop/tls"),
            origin: ir::Origin::new("Secret", "shop", "tls"),
            names: vec!["shop.example".to_owned()],
            chain: ir::SecretBytes::new(b"chain".to_vec()),
            private_key: ir::SecretBytes::new(b"key".to_vec()),
        };
        snapshot.certificates.insert(certificate.key.clone(), Arc::new(certificate));
        let set = ir::EndpointSet {
            key: ir::EndpointSetKey::new("Service/shop/cart:80"),
            origin: ir::Origin::new("Service", "shop", "cart"),
            endpoints: Vec::new(),
        };
        snapshot.endpoint_sets.insert(set.key.clone(), Arc::new(set));
        snapshot
    }

    fn disk(directory: &Path) -> Disk {
        Disk::new(directory, &ir::GatewayKey::new("shop/web"))
    }

    #[test]
    fn what_is_saved_is_read_back_and_only_the_owner_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("new");
        let disk = disk(&directory);
        assert!(disk.load().unwrap().is_none());
        for _ in 0..2 {
            disk.save(&snapshot()).unwrap();
        }
        let restored = disk.load().unwrap().unwrap();
        let mut again = ir::Snapshot::default();
        again.apply(&restored.delta);
        assert_eq!(again, snapshot());
        assert_eq!(restored.versions.len(), 2);
        assert_eq!(std::fs::metadata(directory.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_whole_or_not_ours_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let disk = disk(place.path());
        disk.save(&snapshot()).unwrap();
        let path = place.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 10, 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(disk.load().is_err(), "{length}");
        }
        let mut damaged = whole.clone();
        damaged[50] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(disk.load().is_err());
        std::fs::write(&path, &whole).unwrap();
        assert!(disk.load().unwrap().is_some());
        let other = Disk::new(place.path(), &ir::GatewayKey::new("shop/other"));
        let error = format!("{:#}", other.load().unwrap_err());
        assert!(error.contains("another Gateway"), "{error}");
    }
}

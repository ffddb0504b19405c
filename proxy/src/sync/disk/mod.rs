//! The last good configuration on the disk: a file with the whole of it, and one with what changed since.
//!
//! A change costs what it holds: it is added to the second file, and the whole is written again only when the changes
//! have become as long as it. Both files hold private keys: only the owner may read them. Everything here blocks.

pub(super) mod asked;
mod changes;
mod resources;
#[cfg(test)]
mod tests;
mod whole;

use anyhow::{Context as _, Result};
use changes::Changes;
use sluice_ir::{self as ir, Resource, ResourceKey};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use whole::Whole;

/// Bytes of a checksum.
const SUM: usize = 32;
/// The SHA-256 of a whole configuration.
type Sum = [u8; SUM];

/// What changed: the newest of each resource, `None` for one that is gone.
pub(super) type Edits = BTreeMap<ResourceKey, Option<Resource>>;

/// Changes up to this length are kept however short the whole is.
const LEAST_CHANGES: u64 = 64 * 1024;

/// Where the configuration rests.
pub(super) struct Disk {
    directory: PathBuf,
    whole: Whole,
    /// Where changes go; `None`: the next change writes the whole.
    open: Option<Open>,
}

/// A whole and the changes that continue it.
struct Open {
    whole_bytes: u64,
    changes: Changes,
}

/// What was on the disk.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) delta: ir::Delta,
    pub(super) versions: HashMap<ResourceKey, u64>,
}

impl Disk {
    pub(super) fn new(directory: &Path, gateway: &ir::GatewayKey) -> Self {
        Self { directory: directory.to_owned(), whole: Whole::new(directory, gateway), open: None }
    }

    /// Reads the configuration; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read, is not whole or is another Gateway's. A resource that this version of Sluice can't read
    /// is left out: the controller sends it again.
    pub(super) fn load(&self) -> Result<Option<Restored>> {
        let Some((mut kept, sum)) = self.whole.load()? else { return Ok(None) };
        changes::replay(&self.directory, &sum, &mut kept)?;
        let mut restored = Restored::default();
        for (key, (resource, version)) in kept {
            restored.versions.insert(key, version);
            restored.delta.upserts.push(resource);
        }
        Ok(Some(restored))
    }

    /// Notes what changed; `now` gives the whole configuration, with these changes, where it must be written.
    ///
    /// # Errors
    /// When the folder can't be written; what was there stays, and the next call writes the whole.
    pub(super) fn save(&mut self, edits: &Edits, now: impl FnOnce() -> ir::Snapshot) -> Result<()> {
        let open = self.open.take();
        let kept = open.filter(|it| it.changes.bytes < it.whole_bytes.max(LEAST_CHANGES));
        let open = match kept {
            Some(mut open) => {
                open.changes.append(edits).with_context(|| self.directory.display().to_string())?;
                open
            }
            None => {
                let written = self.whole.save(&now())?;
                let changes = Changes::begin(&self.directory, &written.sum)?;
                Open { whole_bytes: written.bytes, changes }
            }
        };
        self.open = Some(open);
        Ok(())
    }
}

/// A new file that only its owner may read, in the place of whatever is there.
fn create(path: &Path) -> Result<File> {
    let named = || path.display().to_string();
    // One that an earlier process left behind may have any mode.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(named),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(named)
}

//! The file of what changed since the whole configuration was written.
//!
//! It begins with a line of its own and the checksum of the whole that it continues; then come batches, each with its
//! length and the beginning of its SHA-256 in front. A batch that is not whole, as a sudden end leaves it, and what comes
//! after it are not used: what is read is always a state that once was.

use super::resources::{Kept, put, put_removal, read_into};
use super::{Edits, SUM, Sum, create};
use anyhow::{Context as _, Result};
use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// First line of the file.
const HEAD: &[u8] = b"sluice-changes-1\n";
/// Name of the file.
pub(super) const FILE: &str = "changes";
/// Bytes in front of a batch: 8 of its length, 8 of its checksum.
const FRAME: usize = 16;

/// The file, open for writing.
pub(super) struct Changes {
    file: File,
    /// How long it is.
    pub(super) bytes: u64,
}

impl Changes {
    /// An empty file that continues the whole with this checksum, in the place of whatever is there.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub(super) fn begin(directory: &Path, whole: &Sum) -> Result<Self> {
        let path = directory.join(FILE);
        let mut file = create(&path)?;
        let write = file.write_all(HEAD).and_then(|()| file.write_all(whole));
        write.with_context(|| path.display().to_string())?;
        Ok(Self { file, bytes: (HEAD.len() + SUM) as u64 })
    }

    /// Adds a batch, and returns when it is on the disk.
    ///
    /// # Errors
    /// When it can't be written; the file must not be used any further.
    pub(super) fn append(&mut self, edits: &Edits) -> Result<()> {
        let mut batch = vec![0; FRAME];
        for (key, edit) in edits {
            match edit {
                Some(resource) => put(&mut batch, resource)?,
                None => put_removal(&mut batch, key)?,
            }
        }
        let length = (batch.len() - FRAME) as u64;
        let sum = Sha256::digest(&batch[FRAME..]);
        batch[..8].copy_from_slice(&length.to_be_bytes());
        batch[8..FRAME].copy_from_slice(&sum[..8]);
        self.file.write_all(&batch)?;
        self.file.sync_data()?;
        self.bytes += batch.len() as u64;
        Ok(())
    }
}

/// Takes over what changed since the whole with this checksum. A file that is not there, or continues another whole,
/// changes nothing.
///
/// # Errors
/// When the file can't be read.
pub(super) fn replay(directory: &Path, whole: &Sum, kept: &mut Kept) -> Result<()> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let begin = HEAD.len() + SUM;
    if bytes.len() < begin || !bytes.starts_with(HEAD) || bytes[HEAD.len()..begin] != whole[..] {
        return Ok(());
    }
    let mut rest = bytes.slice(begin..);
    while let Some(batch) = next(&mut rest) {
        read_into(kept, batch)?;
    }
    Ok(())
}

/// The next batch that is whole.
fn next(rest: &mut Bytes) -> Option<Bytes> {
    if rest.len() < FRAME {
        return None;
    }
    let length = usize::try_from(rest.get_u64()).ok()?;
    let sum = rest.split_to(8);
    if rest.len() < length {
        return None;
    }
    let batch = rest.split_to(length);
    (Sha256::digest(&batch)[..8] == sum[..]).then_some(batch)
}

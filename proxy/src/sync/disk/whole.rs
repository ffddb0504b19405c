//! The file that holds a whole configuration.
//!
//! It begins with a line that says what it is and for which Gateway; then come the resources in their wire form, each
//! with its length in front, and at the end the SHA-256 of all before. It is replaced by renaming, so that it is whole at
//! any time, and a file that is not whole is not used.

use super::resources::{Kept, put, read_into};
use super::{SUM, Sum, create};
use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use sluice_ir as ir;
use std::fs::{DirBuilder, File};
use std::io::{BufWriter, Read as _, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// First word of the file.
const FORMAT: &str = "sluice-snapshot-1";
/// Name of the file.
const FILE: &str = "snapshot";
/// Longest file that is read.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
/// A whole configuration's file.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    directory: PathBuf,
    gateway: ir::GatewayKey,
}

/// What was written.
pub(super) struct Written {
    pub(super) sum: Sum,
    pub(super) bytes: u64,
}

impl Whole {
    pub(super) fn new(directory: &Path, gateway: &ir::GatewayKey) -> Self {
        Self { directory: directory.to_owned(), gateway: gateway.clone() }
    }

    /// Reads the configuration and the file's checksum; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read, is not whole or is another Gateway's.
    pub(super) fn load(&self) -> Result<Option<(Kept, Sum)>> {
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

    fn parse(&self, mut bytes: Vec<u8>) -> Result<(Kept, Sum)> {
        let length = bytes.len().checked_sub(SUM).context("the file is not whole")?;
        let sum = bytes.split_off(length);
        if Sha256::digest(&bytes)[..] != sum[..] {
            bail!("the file is not whole");
        }
        let head = self.head();
        if !bytes.starts_with(head.as_bytes()) {
            bail!("the file is that of another Gateway or another format");
        }
        let mut kept = Kept::default();
        read_into(&mut kept, bytes::Bytes::from(bytes).slice(head.len()..))?;
        Ok((kept, Sum::try_from(sum).unwrap_or_default()))
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// When the folder can't be written; what was there stays.
    pub(super) fn save(&self, snapshot: &ir::Snapshot) -> Result<Written> {
        let named = || self.directory.display().to_string();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).with_context(named)?;
        let (whole, part) = (self.directory.join(FILE), self.directory.join(format!("{FILE}.new")));
        let file = create(&part)?;
        let written = self.write(&file, snapshot).with_context(named)?;
        file.sync_all().with_context(named)?;
        std::fs::rename(&part, &whole).with_context(named)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).with_context(named)?;
        Ok(written)
    }

    fn write(&self, file: &File, snapshot: &ir::Snapshot) -> Result<Written> {
        let inner = BufWriter::with_capacity(64 * 1024, file);
        let mut to = Summed { inner, sum: Sha256::new(), bytes: 0 };
        to.write_all(self.head().as_bytes())?;
        let all = ir::Snapshot::default().delta_to(snapshot);
        for resource in &all.upserts {
            put(&mut to, resource)?;
        }
        let sum = to.sum.finalize();
        to.inner.write_all(&sum)?;
        to.inner.flush()?;
        Ok(Written { sum: sum.into(), bytes: to.bytes })
    }

    fn head(&self) -> String {
        format!("{FORMAT} {}\n", self.gateway)
    }
}

struct Summed<W> {
    inner: W,
    sum: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

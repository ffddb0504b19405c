//! The token and the authorities, read again for each connection: both are replaced while the process runs.

use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// Longest file that is read.
const FILE_BYTES: u64 = 1024 * 1024;

/// The token of this data plane.
pub(crate) async fn token(path: &Path) -> Result<String> {
    let bytes = read(path).await?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(token.to_owned())
}

/// The bytes of a file that is never long.
pub(crate) async fn read(path: &Path) -> Result<Vec<u8>> {
    let named = || path.display().to_string();
    let length = tokio::fs::metadata(path).await.with_context(named)?.len();
    if length > FILE_BYTES {
        bail!("{} is too long: {length} bytes", path.display());
    }
    tokio::fs::read(path).await.with_context(named)
}

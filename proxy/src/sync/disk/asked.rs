//! The file of destinations that were asked for: what is asked for again when a process starts anew.
//!
//! A line that says what it is and whose, then one for each name with its scope. It is replaced by renaming. A file that
//! can't be read costs nothing but that names are asked for when somebody calls them.

use super::create;
use anyhow::{Context as _, Result};
use sluice_ir::GatewayKey;
use std::io::Write as _;
use std::path::Path;

/// First word of the file.
const FORMAT: &str = "sluice-destinations-1";
/// Name of the file.
const FILE: &str = "destinations";

/// Reads names and scopes.
pub(crate) fn load(directory: &Path, of: &GatewayKey) -> Vec<(Box<str>, GatewayKey)> {
    let Ok(text) = std::fs::read_to_string(directory.join(FILE)) else { return Vec::new() };
    let mut lines = text.lines();
    if lines.next() != Some(&format!("{FORMAT} {of}")) {
        return Vec::new();
    }
    let pairs = lines.filter_map(|it| it.split_once(' '));
    pairs.map(|(name, scope)| (name.into(), GatewayKey::new(scope))).collect()
}

/// Replaces the file.
///
/// # Errors
/// When the folder can't be written; what was there stays.
pub(crate) fn save(directory: &Path, of: &GatewayKey, all: &[(Box<str>, GatewayKey)]) -> Result<()> {
    let named = || directory.display().to_string();
    std::fs::create_dir_all(directory).with_context(named)?;
    let part = directory.join(format!("{FILE}.new"));
    let mut file = create(&part)?;
    writeln!(file, "{FORMAT} {of}")?;
    for (name, scope) in all {
        writeln!(file, "{name} {scope}")?;
    }
    file.sync_all()?;
    std::fs::rename(&part, directory.join(FILE)).with_context(named)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{load, save};
    use sluice_ir::GatewayKey;

    #[test]
    fn names_are_read_as_they_were_written_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (GatewayKey::new("Workloads/shop"), GatewayKey::new("Workloads/blog"));
        let all = vec![("10.96.0.1:80".into(), GatewayKey::new("Mesh/Service/shop/cart@shop"))];
        save(folder.path(), &own, &all).unwrap();
        assert_eq!(load(folder.path(), &own), all);
        assert!(load(folder.path(), &other).is_empty());
    }
}

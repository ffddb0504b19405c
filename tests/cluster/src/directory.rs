//! A cluster's folder of temporary files, named by the process that made it, so that a later run can remove what a
//! killed one left.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const PREFIX: &str = "sluice-cluster-";

/// Makes a new folder and removes those of processes that are gone.
pub(crate) fn create() -> Result<TempDir> {
    let parent = std::env::temp_dir();
    remove_leftovers(&parent);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(&parent).context("a temporary folder")
}

fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_process_is_gone_is_removed_and_one_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        // Process numbers end at 2^22.
        let left = parent.path().join(format!("{PREFIX}99999999-abc"));
        let used = parent.path().join(format!("{PREFIX}{}-abc", std::process::id()));
        let other = parent.path().join("something-else");
        for folder in [&left, &used, &other] {
            fs::create_dir_all(folder.join("etcd")).unwrap();
        }
        remove_leftovers(parent.path());
        assert!(!left.exists());
        assert!(used.exists() && other.exists());
    }
}

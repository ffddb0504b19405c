//! Cases that are folders: each holds what goes in, and files with what is expected to come out.
//! `UPDATE_FIXTURES=1` writes those anew.

use std::fs;
use std::path::{Path, PathBuf};

/// Runs every case below `tests/FOLDER`, of which there are at least so many.
pub(crate) fn check(folder: &str, least: usize, run: impl Fn(&Path) -> Result<(), String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|it| it.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= least, "{cases:?}");
    let wrong: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Compares with what a file holds.
pub(crate) fn compare(path: &Path, got: String) -> Result<(), String> {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, got).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == got {
        return Ok(());
    }
    let line = expected.lines().zip(got.lines()).position(|(old, new)| old != new).unwrap_or(0);
    let around =
        |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n  ");
    Err(format!(
        "{} line {}\nexpected:\n  {}\ngot:\n  {}",
        path.display(),
        line + 1,
        around(&expected),
        around(&got)
    ))
}

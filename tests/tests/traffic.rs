//! Every fixture with a `traffic.yaml`: its requests through a real gateway on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, stream};
use std::path::{Path, PathBuf};

/// Fixtures that run at the same time.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_gets_the_answers_it_expects() {
    let fixtures = fixtures(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")));
    assert!(!fixtures.is_empty(), "no fixture has a traffic.yaml");
    let only = std::env::var("FIXTURE").unwrap_or_default();
    let chosen = fixtures.iter().filter(|path| path.to_string_lossy().contains(&only));
    let results: Vec<_> = stream::iter(chosen)
        .map(|path| async move { (path, tokio::spawn(run(path.clone())).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert!(!results.is_empty(), "no fixture's path contains {only:?}");
    let mut failed = Vec::new();
    for (path, result) in results {
        match result {
            Ok(differences) => {
                failed.extend(differences.into_iter().map(|text| format!("{}: {text}", name(path))))
            }
            Err(panic) => failed.push(format!("{}: {panic}", name(path))),
        }
    }
    failed.sort();
    assert!(failed.is_empty(), "{} differences:\n{}", failed.len(), failed.join("\n"));
}

async fn run(path: PathBuf) -> Vec<String> {
    sluice_tests::traffic::run(&path).await
}

/// Folders with a `traffic.yaml`, at any depth.
fn fixtures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir())
    {
        if path.join("traffic.yaml").exists() {
            found.push(path.clone());
        }
        found.extend(fixtures(&path));
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    let names: Vec<_> = path.iter().rev().take(2).map(|name| name.to_string_lossy().into_owned()).collect();
    names.into_iter().rev().collect::<Vec<_>>().join("/")
}

//! Real changes of real folders, each waited for with a deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Touched, Watcher};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(10);

fn watched() -> (TempDir, Watcher) {
    let directory = TempDir::new().unwrap();
    let (watcher, error) = Watcher::new(directory.path());
    assert!(error.is_none(), "{error:?}");
    (directory, watcher)
}

/// Waits for a report that satisfies the condition.
async fn until(watcher: &mut Watcher, condition: impl Fn(&Touched) -> bool) -> Touched {
    let waiting = async {
        loop {
            let touched = watcher.next().await;
            if condition(&touched) {
                return touched;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap()
}

fn names(path: PathBuf) -> impl Fn(&Touched) -> bool {
    move |touched| touched.files.contains(&path)
}

#[tokio::test]
async fn a_written_file_is_reported_fast_and_by_name() {
    let (directory, mut watcher) = watched();
    let path = directory.path().join("a.yaml");
    fs::write(&path, "a: 1").unwrap();
    let begin = Instant::now();
    let touched = until(&mut watcher, names(path)).await;
    assert!(begin.elapsed() < Duration::from_millis(200), "{:?}", begin.elapsed());
    assert!(!touched.everything && touched.busy.is_empty(), "{touched:?}");
}

#[tokio::test]
async fn a_file_is_reported_when_its_writer_closes_it() {
    let (directory, mut watcher) = watched();
    let (slow, quick) = (directory.path().join("slow.yaml"), directory.path().join("quick.yaml"));
    let mut writer = fs::File::create(&slow).unwrap();
    writer.write_all(b"half: ").unwrap();
    fs::write(&quick, "a: 1").unwrap();
    let touched = until(&mut watcher, names(quick)).await;
    assert!(touched.busy.contains(&slow) && !touched.files.contains(&slow), "{touched:?}");
    writer.write_all(b"done").unwrap();
    drop(writer);
    until(&mut watcher, names(slow)).await;
}

#[tokio::test]
async fn saving_by_rename_and_deleting_are_reported() {
    let (directory, mut watcher) = watched();
    let (temporary, path) = (directory.path().join(".a.yaml.swp"), directory.path().join("a.yaml"));
    fs::write(&temporary, "a: 1").unwrap();
    fs::rename(&temporary, &path).unwrap();
    until(&mut watcher, names(path.clone())).await;
    fs::remove_file(&path).unwrap();
    until(&mut watcher, names(path)).await;
}

#[tokio::test]
async fn a_new_subfolder_and_a_swapped_link_make_it_look_at_everything() {
    let (directory, mut watcher) = watched();
    fs::create_dir(directory.path().join("new")).unwrap();
    until(&mut watcher, |touched| touched.everything).await;
    let path = directory.path().join("new/a.yaml");
    fs::write(&path, "a: 1").unwrap();
    until(&mut watcher, names(path)).await;
    std::os::unix::fs::symlink("new", directory.path().join("..data")).unwrap();
    until(&mut watcher, |touched| touched.everything).await;
}

#[tokio::test]
async fn an_editor_that_saves_by_a_temporary_file_does_not_make_it_look_at_everything() {
    let (directory, mut watcher) = watched();
    let (temporary, path) = (directory.path().join("sedAb12"), directory.path().join("a.yaml"));
    fs::write(&temporary, "a: 1").unwrap();
    fs::set_permissions(&temporary, fs::metadata(&temporary).unwrap().permissions()).unwrap();
    fs::rename(&temporary, &path).unwrap();
    let touched = until(&mut watcher, names(path)).await;
    assert!(!touched.everything, "{touched:?}");
}

#[tokio::test]
async fn a_folder_that_is_made_again_is_watched_again() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("manifests");
    fs::create_dir(&root).unwrap();
    let (mut watcher, error) = Watcher::new(&root);
    assert!(error.is_none(), "{error:?}");
    fs::remove_dir(&root).unwrap();
    until(&mut watcher, |touched| touched.everything).await;
    fs::create_dir(&root).unwrap();
    until(&mut watcher, |touched| touched.everything && watches(&root)).await;
    let path = root.join("a.yaml");
    let written = async {
        // Until the new folder is watched a write may only be seen by the patrol.
        loop {
            fs::write(&path, "a: 1").unwrap();
            let touched = watcher.next().await;
            if touched.files.contains(&path) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, written).await.unwrap();
}

fn watches(root: &Path) -> bool {
    root.is_dir()
}

#[tokio::test]
async fn a_single_file_is_watched_however_often_it_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.yaml");
    fs::write(&path, "a: 0").unwrap();
    fs::write(directory.path().join("other.yaml"), "a: 0").unwrap();
    let (mut watcher, error) = Watcher::new(&path);
    assert!(error.is_none(), "{error:?}");
    for round in 1..4 {
        let temporary = directory.path().join("new");
        fs::write(&temporary, format!("a: {round}")).unwrap();
        fs::rename(&temporary, &path).unwrap();
        let begin = Instant::now();
        let touched = until(&mut watcher, names(path.clone())).await;
        assert!(begin.elapsed() < Duration::from_millis(400), "round {round}: {:?}", begin.elapsed());
        assert!(!touched.everything, "{touched:?}");
    }
}

#[tokio::test]
async fn paths_begin_as_the_folder_was_named() {
    let (directory, _) = watched();
    let relative = pathdiff(directory.path());
    let (mut watcher, error) = Watcher::new(&relative);
    assert!(error.is_none(), "{error:?}");
    fs::write(directory.path().join("a.yaml"), "a: 1").unwrap();
    until(&mut watcher, names(relative.join("a.yaml"))).await;
}

/// `../../tmp/x` from wherever the test runs.
fn pathdiff(absolute: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let up = here.components().skip(1).map(|_| "..").collect::<PathBuf>();
    up.join(absolute.strip_prefix("/").unwrap())
}

//! Notices changes of a folder within milliseconds.
//!
//! Goes out: the files to read again, once things have been quiet for a moment, and whether to look at the whole
//! folder. A file that somebody has open for writing is reported when it is closed, so that half of it is never read.
//! What the system does not report (links that lead out of the folder, lost events, a folder that was deleted and
//! made again) is caught by looking at everything every few seconds.

use super::scan;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes are reported when nothing more came for this long,
const QUIET: Duration = Duration::from_millis(2);
/// but never later than this after the first one.
const LATEST: Duration = Duration::from_millis(10);
/// A writer that pauses for this long without closing its file is not waited for.
const WRITER_PAUSE: Duration = Duration::from_millis(250);
/// How often everything is looked at; more often where the system can't notify or the folder is gone.
const PATROL: Duration = Duration::from_secs(5);
const CLOSE_PATROL: Duration = Duration::from_millis(500);
/// More changed files than this are a reason to look at everything.
const MOST_PATHS: usize = 10_000;

/// What to read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Files, with paths that begin as the folder was named.
    pub files: BTreeSet<PathBuf>,
    /// Files that are being written: leave them for now.
    pub busy: BTreeSet<PathBuf>,
    /// Whether to look at the whole folder.
    pub everything: bool,
}

/// Watches one folder.
pub struct Watcher {
    root: PathBuf,
    absolute: PathBuf,
    /// What the system watches: the folder; of a single file the folder around it, since a file that is saved under
    /// another name and renamed is another file.
    target: PathBuf,
    /// `None`: the system can't notify, the patrol does all.
    system: Option<RecommendedWatcher>,
    /// Which folder the system watches: it may be deleted and made again.
    watched: Option<(u64, u64)>,
    pending: Arc<Pending>,
    next_patrol: Instant,
}

#[derive(Default)]
struct Pending {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    ready: BTreeSet<PathBuf>,
    /// Files open for writing, with the time of the last write.
    writing: BTreeMap<PathBuf, Instant>,
    everything: bool,
    /// The folder itself went away; one that is made again may look the same, but is not watched.
    lost: bool,
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Begins to watch; changes from now on are reported. The error of a system that can't notify comes back beside
    /// the watcher, which then looks at everything twice a second.
    pub fn new(root: &Path) -> (Self, Option<notify::Error>) {
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let target = match absolute.parent() {
            Some(parent) if absolute.is_file() => parent.to_owned(),
            _ => absolute.clone(),
        };
        let pending = Arc::new(Pending::default());
        let sink = pending.clone();
        let tree = Tree { base: absolute.clone(), target: target.clone() };
        let system =
            notify::recommended_watcher(move |event: notify::Result<Event>| sink.event(event, &tree));
        let (system, error) = match system {
            Ok(system) => (Some(system), None),
            Err(error) => (None, Some(error)),
        };
        let next_patrol = Instant::now() + PATROL;
        let mut watcher =
            Self { root: root.to_owned(), absolute, target, system, watched: None, pending, next_patrol };
        let error = error.or_else(|| watcher.watch().err());
        if error.is_some() {
            watcher.system = None;
        }
        (watcher, error)
    }

    /// Tells the system what to watch; again when the folder is another one than before.
    fn watch(&mut self) -> notify::Result<()> {
        let now = fs::metadata(&self.target).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let Some(system) = self.system.as_mut().filter(|_| now != self.watched) else { return Ok(()) };
        if self.watched.take().is_some() {
            // The old folder is gone or elsewhere; that its watch is gone too is no mistake.
            let _ = system.unwatch(&self.target);
        }
        if now.is_some() {
            let is_file = self.target != self.absolute;
            let mode = if is_file { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
            system.watch(&self.target, mode)?;
            self.watched = now;
        }
        Ok(())
    }

    /// Waits for the next change. Cancelling loses nothing.
    pub async fn next(&mut self) -> Touched {
        let mut first: Option<Instant> = None;
        loop {
            let news = self.pending.clone();
            let news = news.news.notified();
            let now = Instant::now();
            let is_writing = {
                let mut state = self.pending.state();
                state.release(now);
                if !state.is_quiet() {
                    first.get_or_insert(now);
                }
                !state.writing.is_empty()
            };
            let wake = match first {
                Some(first) if now >= first + LATEST => return self.take(),
                Some(first) => (now + QUIET).min(first + LATEST),
                None if is_writing => self.next_patrol.min(now + WRITER_PAUSE),
                None => self.next_patrol,
            };
            let came = tokio::time::timeout_at(wake, news).await.is_ok();
            if !came && first.is_some() {
                return self.take();
            }
            if Instant::now() >= self.next_patrol {
                self.pending.state().everything = true;
            }
        }
    }

    fn take(&mut self) -> Touched {
        let mut state = std::mem::take(&mut *self.pending.state());
        if state.lost
            && let Some(system) = self.system.as_mut().filter(|_| self.watched.is_some())
        {
            // Its watch is gone with it; nothing to do about an error.
            let _ = system.unwatch(&self.target);
            self.watched = None;
        }
        if state.everything && self.watch().is_err() {
            self.system = None;
        }
        let is_close = self.system.is_none() || self.watched.is_none();
        self.next_patrol = Instant::now() + if is_close { CLOSE_PATROL } else { PATROL };
        let named = |path: &PathBuf| match path.strip_prefix(&self.absolute) {
            Ok(rest) if rest.as_os_str().is_empty() => self.root.clone(),
            Ok(rest) => self.root.join(rest),
            Err(_) => path.clone(),
        };
        let touched = Touched {
            files: state.ready.iter().map(named).collect(),
            busy: state.writing.keys().map(named).collect(),
            everything: state.everything,
        };
        // Who is still writing will be heard of again.
        self.pending.state().writing.append(&mut state.writing);
        touched
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        self.ready.is_empty() && !self.everything
    }

    /// Reports files whose writer has paused for long.
    fn release(&mut self, now: Instant) {
        let paused = |written: &Instant| now.saturating_duration_since(*written) >= WRITER_PAUSE;
        let late: Vec<_> =
            self.writing.iter().filter(|(_, at)| paused(at)).map(|(path, _)| path.clone()).collect();
        for path in late {
            self.writing.remove(&path);
            self.ready.insert(path);
        }
    }
}

impl Pending {
    /// Called on the system's thread.
    fn event(&self, event: notify::Result<Event>, tree: &Tree) {
        let mut state = self.state();
        match event {
            Ok(event) if event.need_rescan() => state.everything = true,
            Ok(event) => {
                for path in &event.paths {
                    state.note(&event.kind, path, tree);
                }
            }
            Err(_) => state.everything = true,
        }
        if state.ready.len() + state.writing.len() > MOST_PATHS {
            *state = State { everything: true, ..State::default() };
        }
        drop(state);
        self.news.notify_one();
    }
}

impl State {
    fn note(&mut self, kind: &EventKind, path: &Path, tree: &Tree) {
        if let EventKind::Access(access) = kind {
            if matches!(access, AccessKind::Close(AccessMode::Write)) && tree.owns(path) {
                self.writing.remove(path);
                self.ready.insert(path.to_owned());
            }
            return;
        }
        let is_write =
            matches!(kind, EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)));
        let is_move = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        match fs::symlink_metadata(path) {
            _ if path == tree.target && is_move => (self.lost, self.everything) = (true, true),
            // The file will be closed some time.
            Ok(it) if it.is_file() && is_write && tree.owns(path) => {
                self.writing.insert(path.to_owned(), Instant::now());
            }
            Ok(it) if it.is_file() => self.ready(path, tree),
            // A folder came, or a link to somewhere else.
            Ok(_) => self.everything = true,
            // A link to data that many files lead through, as in a mounted ConfigMap.
            Err(_) if is_data_link(path) => self.everything = true,
            // Gone: a file, or a folder with files in it.
            Err(_) => {
                self.writing.remove(path);
                self.ready.insert(path.to_owned());
            }
        }
    }

    /// A file got another name or other rights.
    fn ready(&mut self, path: &Path, tree: &Tree) {
        if tree.owns(path) {
            self.writing.remove(path);
            self.ready.insert(path.to_owned());
        }
    }
}

/// What is watched, with absolute paths.
struct Tree {
    base: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Whether the path is that of a manifest.
    fn owns(&self, path: &Path) -> bool {
        scan::is_manifest_of(&self.base, path)
    }
}

/// `..data` and the like.
fn is_data_link(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
}

#[cfg(test)]
mod tests;

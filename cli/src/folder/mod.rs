//! A folder of manifests: the objects in it, what is wrong with it, and what changes when its files change.
//!
//! Comes in: the folder. Goes out: [`Change`]s of objects, and [`Finding`]s with file and line. The folder remembers
//! for each document only a hash and the names of its objects, so a change of one file parses only the documents that
//! differ. The same object in two places counts once, at the first; a document that can't be read leaves the last good
//! version of its objects in use. What an object means is not looked at here: that is the translation's.

mod document;
mod few;
mod locate;
mod scan;
mod split;
mod update;
mod virtual_service;
mod watch;
mod yaml;

pub use locate::Locator;
pub use watch::{Touched, Watcher};

use crate::finding::{Finding, Position, Severity};
use document::{Contents, Spot};
use few::Few;
use scan::Stamp;
use sluice_crds::{Name, ObjectRef};
use sluice_translate::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The manifests of one folder.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    namespace: String,
    files: BTreeMap<Arc<Path>, FileState>,
    /// Every place that defines an object, in the order of the files; the first one counts.
    places: BTreeMap<ObjectRef, Few<Place>>,
    /// Names of namespaces that were seen, so that the objects of one share its text.
    namespaces: BTreeSet<Name>,
    /// What could not be looked at: subfolders, or too many files.
    failures: Vec<(PathBuf, String)>,
}

#[derive(Debug, Default)]
struct FileState {
    stamp: Option<Stamp>,
    pieces: Box<[PieceState]>,
    /// Nearly always absent.
    trouble: Option<Box<Trouble>>,
}

/// What is wrong with a file as a whole.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trouble {
    /// Why the file could not be read the last time; its objects are those of the time before.
    failure: Option<String>,
    /// Objects of an earlier version that stay in use because the present one can't be read.
    kept: BTreeSet<ObjectRef>,
}

impl Trouble {
    /// `None` when nothing is wrong.
    fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl FileState {
    fn failure(&self) -> Option<&String> {
        self.trouble.as_ref()?.failure.as_ref()
    }

    fn kept(&self) -> impl Iterator<Item = &ObjectRef> {
        self.trouble.iter().flat_map(|it| &it.kept)
    }
}

#[derive(Debug)]
struct PieceState {
    hash: u64,
    first_line: u32,
    contents: Contents,
}

/// Where an object is defined: ordered by file, then by place in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: Arc<Path>,
    piece: u32,
    entry: u32,
}

impl Place {
    fn new(file: &Arc<Path>, piece: usize, entry: usize) -> Self {
        // A file of at most 64 MiB has fewer documents than that.
        let index = |index| u32::try_from(index).unwrap_or(u32::MAX);
        Self { file: file.clone(), piece: index(piece), entry: index(entry) }
    }

    fn piece(&self) -> usize {
        self.piece as usize
    }

    fn entry(&self) -> usize {
        self.entry as usize
    }
}

/// Tells a definition apart from an edited or another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    file: Arc<Path>,
    hash: u64,
    spot: Spot,
}

impl Folder {
    /// An empty view of `root` (a folder, or one file); call [`Folder::rescan`] to read it. `namespace` is that of
    /// objects that name none.
    pub fn new(root: impl Into<PathBuf>, namespace: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            namespace: namespace.into(),
            files: BTreeMap::new(),
            places: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            failures: Vec::new(),
        }
    }

    /// Reads `root` for the first time.
    ///
    /// # Errors
    /// When `root` itself can't be read.
    pub fn load(root: impl Into<PathBuf>, namespace: impl Into<String>) -> io::Result<(Self, Vec<Change>)> {
        let mut folder = Self::new(root, namespace);
        let changes = folder.load_lazily()?.collect();
        Ok((folder, changes))
    }

    /// Fills half-empty nodes of the maps, which a first load in the order of the files leaves.
    pub(crate) fn compact(&mut self) {
        self.files = std::mem::take(&mut self.files).into_iter().collect();
        self.places = std::mem::take(&mut self.places).into_iter().collect();
    }

    /// The folder as the user named it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files that hold manifests.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(|path| &**path)
    }

    /// How many files hold manifests.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Every object that is defined, sorted.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.places.keys()
    }

    /// Kinds that are not read, with the number of objects.
    pub fn ignored_kinds(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        let pieces = self.files.values().flat_map(|file| &file.pieces);
        for kind in pieces.flat_map(|piece| piece.contents.ignored()) {
            *counts.entry(kind.as_str()).or_default() += 1;
        }
        counts
    }

    /// Finds lines; keep it for one report only.
    pub fn locator(&self) -> Locator<'_> {
        Locator::new(self)
    }

    /// What is wrong with files and documents, sorted by place.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> =
            self.failures.iter().map(|(path, message)| file_error(path, message)).collect();
        for (path, file) in &self.files {
            findings.extend(file.failure().map(|message| file_error(path, message)));
            findings.extend(file.pieces.iter().flat_map(|piece| mistakes(path, piece)));
            findings.extend(kept_note(path, file));
        }
        self.duplicates(&mut findings);
        findings.sort();
        findings
    }

    fn duplicates(&self, findings: &mut Vec<Finding>) {
        let mut locator = self.locator();
        for (reference, places) in self.places.iter().filter(|(_, places)| places.len() > 1) {
            let Some(first) = places.first().and_then(|place| locator.position_in(place, "")) else {
                continue;
            };
            for place in places.iter().skip(1) {
                findings.push(Finding {
                    position: locator.position_in(place, ""),
                    object: reference.to_string(),
                    field: String::new(),
                    severity: Severity::Error,
                    message: format!("is already defined at {first}, which is the one that counts"),
                    next_step: "remove or rename one of the two".to_owned(),
                });
            }
        }
    }
}

fn file_error(path: &Path, message: &str) -> Finding {
    Finding {
        position: Some(Position { file: path.to_owned(), line: 1 }),
        object: String::new(),
        field: String::new(),
        severity: Severity::Error,
        message: message.to_owned(),
        next_step: String::new(),
    }
}

fn mistakes<'a>(path: &'a Path, piece: &'a PieceState) -> impl Iterator<Item = Finding> + 'a {
    piece.contents.mistakes().map(|mistake| Finding {
        position: Some(Position {
            file: path.to_owned(),
            line: piece.first_line.saturating_add(mistake.line).saturating_sub(1),
        }),
        object: mistake.object.clone(),
        field: mistake.field.clone(),
        severity: mistake.severity,
        message: mistake.message.clone(),
        next_step: mistake.next_step.clone(),
    })
}

fn kept_note(path: &Path, file: &FileState) -> Option<Finding> {
    let first = file.kept().next()?;
    let others = match file.kept().count() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(Finding {
        position: Some(Position { file: path.to_owned(), line: 1 }),
        object: String::new(),
        field: String::new(),
        severity: Severity::Note,
        message: format!("the last good version of {first}{others} stays in use until the file is right"),
        next_step: String::new(),
    })
}

#[cfg(test)]
mod tests;

//! Brings a folder up to date with its files and says which objects changed.

use super::document::{self, Spoiled};
use super::scan::{self, Stamp};
use super::split::split;
use super::{FileState, Folder, Identity, PieceState, Place};
use sluice_crds::{Object, ObjectRef};
use sluice_translate::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The definition that counted before the update, of each object that may have changed.
type Before = BTreeMap<Arc<ObjectRef>, Option<Identity>>;
/// What was parsed in this update.
type Fresh = HashMap<Identity, Object>;

impl Folder {
    /// Looks at the whole folder and reads what differs, and the files of `touched` in any case. Files of `busy` are
    /// left as they are: somebody is writing them.
    ///
    /// # Errors
    /// When the folder itself can't be read; everything stays as it was.
    pub fn rescan(
        &mut self,
        touched: &BTreeSet<PathBuf>,
        busy: &BTreeSet<PathBuf>,
    ) -> io::Result<Vec<Change>> {
        let scanned = scan::scan(&self.root)?;
        self.failures = scanned.failures;
        let differs = |path: &Path, stamp: &Stamp| {
            touched.contains(path) || self.files.get(path).is_none_or(|file| file.stamp != Some(*stamp))
        };
        let mut paths: Vec<PathBuf> = scanned
            .files
            .iter()
            .filter(|(path, stamp)| differs(path, stamp))
            .map(|(path, _)| path.clone())
            .collect();
        // What stands below a subfolder that can't be listed is not known to be gone.
        let is_gone = |path: &Path| {
            !scanned.files.contains_key(path)
                && !self.failures.iter().any(|(unseen, _)| path.starts_with(unseen))
        };
        paths.extend(self.files.keys().filter(|path| is_gone(path)).map(|path| path.to_path_buf()));
        paths.retain(|path| !busy.contains(path));
        Ok(self.read(&paths))
    }

    /// Reads these files again, whatever they look like from outside; one that is gone takes its objects with it.
    pub fn reread<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Change> {
        let paths: Vec<_> = paths.into_iter().filter(|path| self.is_ours(path)).cloned().collect();
        self.read(&paths)
    }

    fn is_ours(&self, path: &Path) -> bool {
        path == self.root || (scan::is_manifest(path) && !scan::is_hidden_below(&self.root, path))
    }

    fn read(&mut self, paths: &[PathBuf]) -> Vec<Change> {
        let (mut before, mut fresh) = (Before::new(), Fresh::new());
        for path in paths {
            for reference in self.references_of(path) {
                self.note(&reference, &mut before);
            }
        }
        for path in paths {
            match Stamp::read(path) {
                Some(stamp) => self.read_file(path, stamp, &mut before, &mut fresh),
                None => self.drop_file(path),
            }
        }
        self.changes(before, fresh)
    }

    /// Every object that the file has defined, or keeps from an earlier version.
    fn references_of(&self, path: &Path) -> Vec<Arc<ObjectRef>> {
        let Some(file) = self.files.get(path) else { return Vec::new() };
        let entries = file.pieces.iter().flat_map(|piece| &piece.contents.entries);
        entries.map(|entry| &entry.reference).chain(&file.kept).cloned().collect()
    }

    fn note(&self, reference: &Arc<ObjectRef>, before: &mut Before) {
        if !before.contains_key(reference) {
            before.insert(reference.clone(), self.winner(reference));
        }
    }

    fn winner(&self, reference: &ObjectRef) -> Option<Identity> {
        self.identity(self.places.get(reference)?.first()?)
    }

    fn identity(&self, place: &Place) -> Option<Identity> {
        let piece = self.files.get(&place.file)?.pieces.get(place.piece)?;
        let spot = piece.contents.entries.get(place.entry)?.spot;
        Some(Identity { file: place.file.clone(), hash: piece.hash, spot })
    }

    fn drop_file(&mut self, path: &Path) {
        self.forget_places(path);
        self.files.remove(path);
    }

    fn forget_places(&mut self, path: &Path) {
        for reference in self.references_of(path) {
            if let Some(places) = self.places.get_mut(&reference) {
                places.retain(|place| &*place.file != path);
                if places.is_empty() {
                    self.places.remove(&reference);
                }
            }
        }
    }

    fn read_file(&mut self, path: &Path, stamp: Stamp, before: &mut Before, fresh: &mut Fresh) {
        let text = match scan::read(path) {
            Ok(text) => text,
            Err(failure) => {
                let file = self.files.entry(path.into()).or_default();
                (file.stamp, file.failure) = (Some(stamp), Some(failure));
                return;
            }
        };
        let earlier: BTreeSet<_> = self.references_of(path).into_iter().collect();
        self.forget_places(path);
        let (name, old) =
            self.files.remove_entry(path).unwrap_or_else(|| (path.into(), FileState::default()));
        let pieces = self.pieces(&text, &name, old.pieces, fresh);
        for (piece_index, piece) in pieces.iter().enumerate() {
            for (entry_index, entry) in piece.contents.entries.iter().enumerate() {
                self.note(&entry.reference, before);
                let place = Place { file: name.clone(), piece: piece_index, entry: entry_index };
                let places = self.places.entry(entry.reference.clone()).or_default();
                let at = places.partition_point(|other| other < &place);
                places.insert(at, place);
            }
        }
        let kept = kept(earlier, &pieces);
        self.files.insert(name, FileState { stamp: Some(stamp), pieces, failure: None, kept });
    }

    /// The pieces of the new text; those whose text did not change are taken over.
    fn pieces(
        &self,
        text: &str,
        file: &Arc<Path>,
        old: Vec<PieceState>,
        fresh: &mut Fresh,
    ) -> Vec<PieceState> {
        let mut reusable: HashMap<u64, Vec<PieceState>> = HashMap::new();
        for piece in old {
            reusable.entry(piece.hash).or_default().push(piece);
        }
        split(text)
            .into_iter()
            .map(|piece| {
                let hash = piece.hash();
                if let Some(same) = reusable.get_mut(&hash).and_then(Vec::pop) {
                    return PieceState { first_line: piece.first_line, ..same };
                }
                let (contents, objects) = document::read(piece.text, &self.namespace);
                for (entry, object) in contents.entries.iter().zip(objects) {
                    fresh.insert(Identity { file: file.clone(), hash, spot: entry.spot }, object);
                }
                PieceState { hash, first_line: piece.first_line, contents }
            })
            .collect()
    }

    fn changes(&mut self, before: Before, mut fresh: Fresh) -> Vec<Change> {
        let mut changes = Vec::new();
        for (reference, old) in before {
            let Some(new) = self.winner(&reference) else {
                if !self.files.values().any(|file| file.kept.contains(&reference)) {
                    changes.push(Change::Remove(ObjectRef::clone(&reference)));
                }
                continue;
            };
            for file in self.files.values_mut().filter(|file| !file.kept.is_empty()) {
                file.kept.remove(&reference);
            }
            if old.as_ref() == Some(&new) {
                continue;
            }
            let object = fresh.remove(&new).or_else(|| self.object(&new));
            changes.push(match object {
                Some(object) => Change::Upsert(object),
                None => Change::Remove(ObjectRef::clone(&reference)),
            });
        }
        changes
    }

    /// Reads one object again: that of a second definition whose first one is gone.
    fn object(&self, identity: &Identity) -> Option<Object> {
        let text = scan::read(&identity.file).ok()?;
        let piece = split(&text).into_iter().find(|piece| piece.hash() == identity.hash)?;
        document::object_at(piece.text, identity.spot, &self.namespace)
    }
}

/// Which earlier objects of a file stay in use although its present text does not define them.
fn kept(earlier: BTreeSet<Arc<ObjectRef>>, pieces: &[PieceState]) -> BTreeSet<Arc<ObjectRef>> {
    let spoiled = |reference: &ObjectRef| {
        pieces.iter().any(|piece| match &piece.contents.spoiled {
            Spoiled::Nothing => false,
            Spoiled::Objects(objects) => objects.contains(reference),
            Spoiled::Unknown => true,
        })
    };
    let defined: BTreeSet<_> =
        pieces.iter().flat_map(|piece| &piece.contents.entries).map(|entry| &entry.reference).collect();
    earlier.iter().filter(|reference| !defined.contains(reference) && spoiled(reference)).cloned().collect()
}

//! Brings a folder up to date with its files and says which objects changed.

use super::document::{self, Spoiled};
use super::few::Few;
use super::scan::{self, Stamp};
use super::split::{Piece, split};
use super::{FileState, Folder, Identity, PieceState, Place, Trouble};
use sluice_crds::{Object, ObjectRef};
use sluice_translate::Change;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that a first look reads at once: the objects of all of them need not be in memory together.
const BATCH: usize = 64;

/// Names of namespaces that are remembered in order to share them; more are seen by a folder that nobody can read.
const MOST_NAMESPACES: usize = 10_000;

/// The definition that counted before the update, of each object that may have changed.
type Before = BTreeMap<ObjectRef, Option<Identity>>;
/// What was parsed in this update.
type Fresh = HashMap<Identity, Object>;

/// What to do about one file.
struct Plan {
    path: Arc<Path>,
    /// `None`: the file is gone.
    stamp: Option<Stamp>,
    /// Or why it can't be read.
    text: Result<String, String>,
    pieces: Vec<Piece>,
    /// Positions of the documents that differ, among the old ones and among the new ones.
    old: Range<usize>,
    new: Range<usize>,
}

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

    /// Reads a folder for the first time, a few files at a time while the changes are taken: typed objects are many
    /// times larger than what is kept of them.
    ///
    /// # Errors
    /// When the folder itself can't be read.
    pub fn load_lazily(&mut self) -> io::Result<impl Iterator<Item = Change> + '_> {
        let scanned = scan::scan(&self.root)?;
        self.failures = scanned.failures;
        let mut paths = scanned.files.into_keys();
        let batches = std::iter::from_fn(move || {
            let batch: Vec<_> = paths.by_ref().take(BATCH).collect();
            (!batch.is_empty()).then(|| self.read(&batch))
        });
        Ok(batches.flatten())
    }

    /// Reads these files again, whatever they look like from outside. One that is gone takes its objects with it, and
    /// so does a folder.
    pub fn reread<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<Change> {
        let mut files = BTreeSet::new();
        for path in paths {
            if scan::is_manifest_of(&self.root, path) {
                files.insert(path.clone());
            }
            files.extend(self.files_below(path).filter(|file| !file.exists()).map(Path::to_path_buf));
        }
        self.read(&files.into_iter().collect::<Vec<_>>())
    }

    fn files_below(&self, folder: &Path) -> impl Iterator<Item = &Path> {
        let from: Arc<Path> = folder.into();
        let after = self.files.range(from..).map(|(path, _)| &**path).skip_while(move |path| *path == folder);
        after.take_while(move |path| path.starts_with(folder))
    }

    fn read(&mut self, paths: &[PathBuf]) -> Vec<Change> {
        let (mut before, mut fresh) = (Before::new(), Fresh::new());
        let plans: Vec<_> = paths.iter().map(|path| self.plan(path)).collect();
        for plan in &plans {
            self.references(plan).iter().for_each(|reference| self.note(reference, &mut before));
        }
        for plan in plans {
            self.carry_out(plan, &mut before, &mut fresh);
        }
        self.changes(before, fresh)
    }

    /// Reads a file and compares its outline with that of before: edits leave most documents as they are.
    fn plan(&self, path: &Path) -> Plan {
        let old = self.files.get(path).map(|file| &*file.pieces).unwrap_or_default();
        let all = 0..old.len();
        let Some(stamp) = Stamp::read(path) else {
            let (text, pieces) = (Ok(String::new()), Vec::new());
            return Plan { path: path.into(), stamp: None, text, pieces, old: all, new: 0..0 };
        };
        let text = scan::read(path);
        let pieces = text.as_deref().map(split).unwrap_or_default();
        if text.is_err() {
            return Plan { path: path.into(), stamp: Some(stamp), text, pieces, old: 0..0, new: 0..0 };
        }
        let same = |(old, new): &(&PieceState, &Piece)| old.hash == new.hash;
        let start = old.iter().zip(&pieces).take_while(same).count();
        // Documents at the end can only stay where they are when none came or went before them.
        let mut tail = 0;
        if old.len() == pieces.len() {
            let rest = old.iter().rev().zip(pieces.iter().rev()).take(old.len() - start);
            tail = rest.take_while(same).count();
        }
        let new = start..pieces.len() - tail;
        Plan { path: path.into(), stamp: Some(stamp), text, old: start..all.end - tail, new, pieces }
    }

    /// The objects that a plan may take away: those of the documents that differ, and those kept from earlier.
    fn references(&self, plan: &Plan) -> BTreeSet<ObjectRef> {
        let Some(file) = self.files.get(&plan.path) else { return BTreeSet::new() };
        let pieces = file.pieces.get(plan.old.clone()).unwrap_or_default();
        let entries = pieces.iter().flat_map(|piece| piece.contents.entries.iter());
        entries.map(|entry| &entry.reference).chain(file.kept()).cloned().collect()
    }

    fn note(&self, reference: &ObjectRef, before: &mut Before) {
        if !before.contains_key(reference) {
            before.insert(reference.clone(), self.winner(reference));
        }
    }

    fn winner(&self, reference: &ObjectRef) -> Option<Identity> {
        self.identity(self.places.get(reference)?.first()?)
    }

    fn identity(&self, place: &Place) -> Option<Identity> {
        let piece = self.files.get(&place.file)?.pieces.get(place.piece())?;
        let spot = piece.contents.entries.get(place.entry())?.spot;
        Some(Identity { file: place.file.clone(), hash: piece.hash, spot })
    }

    fn carry_out(&mut self, plan: Plan, before: &mut Before, fresh: &mut Fresh) {
        let earlier = self.references(&plan);
        for reference in &earlier {
            self.forget(reference, &plan);
        }
        let Some(stamp) = plan.stamp else {
            self.files.remove(&plan.path);
            return;
        };
        let text = match &plan.text {
            Ok(text) => text,
            Err(failure) => {
                let file = self.files.entry(plan.path.clone()).or_default();
                file.stamp = Some(stamp);
                file.trouble.get_or_insert_default().failure = Some(failure.clone());
                return;
            }
        };
        let old = self.files.remove(&plan.path).unwrap_or_default();
        let pieces = self.pieces(text, &plan, old.pieces, &earlier, fresh);
        for (piece_index, piece) in pieces.iter().enumerate().take(plan.new.end).skip(plan.new.start) {
            for (entry_index, entry) in piece.contents.entries.iter().enumerate() {
                self.note(&entry.reference, before);
                self.remember(&entry.reference, Place::new(&plan.path, piece_index, entry_index));
            }
        }
        let trouble = Trouble { failure: None, kept: kept(earlier, &pieces) }.boxed();
        self.files.insert(plan.path, FileState { stamp: Some(stamp), pieces, trouble });
    }

    /// Takes the places of the documents that differ away.
    fn forget(&mut self, reference: &ObjectRef, plan: &Plan) {
        let Some((reference, places)) = self.places.remove_entry(reference) else { return };
        let mut places = places.into_vec();
        places.retain(|place| place.file != plan.path || !plan.old.contains(&place.piece()));
        if !places.is_empty() {
            self.places.insert(reference, places.into());
        }
    }

    fn remember(&mut self, reference: &ObjectRef, place: Place) {
        match self.places.remove_entry(reference) {
            Some((reference, places)) => {
                let mut places = places.into_vec();
                let at = places.partition_point(|other| other < &place);
                places.insert(at, place);
                self.places.insert(reference, places.into());
            }
            None => drop(self.places.insert(reference.clone(), Few::One(place))),
        }
    }

    /// The pieces of the new text; those whose text did not change are taken over.
    fn pieces(
        &mut self,
        text: &str,
        plan: &Plan,
        old: Box<[PieceState]>,
        earlier: &BTreeSet<ObjectRef>,
        fresh: &mut Fresh,
    ) -> Box<[PieceState]> {
        let mut reusable: HashMap<u64, Vec<PieceState>> = HashMap::new();
        for piece in old {
            reusable.entry(piece.hash).or_default().push(piece);
        }
        let states = plan.pieces.iter().map(|piece| {
            let Piece { first_line, hash, .. } = *piece;
            if let Some(same) = reusable.get_mut(&hash).and_then(Vec::pop) {
                return PieceState { first_line, ..same };
            }
            let (mut contents, objects) = document::read(piece.of(text), &self.namespace);
            contents.share(|reference| match earlier.get(&reference) {
                Some(same) => same.clone(),
                None => self.shared(&reference),
            });
            for (entry, object) in contents.entries.iter().zip(objects) {
                fresh.insert(Identity { file: plan.path.clone(), hash, spot: entry.spot }, object);
            }
            PieceState { hash, first_line, contents }
        });
        states.collect()
    }

    /// A reference whose namespace's name is shared with others.
    fn shared(&mut self, reference: &ObjectRef) -> ObjectRef {
        if self.namespaces.len() > MOST_NAMESPACES {
            self.namespaces.clear();
        }
        let known = self.namespaces.get(&reference.namespace).cloned();
        let namespace = known.unwrap_or_else(|| {
            self.namespaces.insert(reference.namespace.clone());
            reference.namespace.clone()
        });
        ObjectRef::new(reference.kind, namespace, reference.name.clone())
    }

    fn changes(&mut self, before: Before, mut fresh: Fresh) -> Vec<Change> {
        let mut changes = Vec::new();
        let any_kept = self.files.values().any(|file| file.trouble.is_some());
        for (reference, old) in before {
            let Some(new) = self.winner(&reference) else {
                if !any_kept || !self.files.values().flat_map(FileState::kept).any(|it| *it == reference) {
                    changes.push(Change::Remove(reference));
                }
                continue;
            };
            if any_kept {
                self.forget_kept(&reference);
            }
            if old.as_ref() == Some(&new) {
                continue;
            }
            let object = fresh.remove(&new).or_else(|| self.object(&new));
            changes.push(match object {
                Some(object) => {
                    // The folder's own, so that its names are there only once.
                    let kept = self.places.get_key_value(&reference).map(|(kept, _)| kept.clone());
                    Change::UpsertAs(kept.unwrap_or(reference), object)
                }
                None => Change::Remove(reference),
            });
        }
        changes
    }

    fn forget_kept(&mut self, reference: &ObjectRef) {
        for file in self.files.values_mut() {
            if let Some(trouble) = &mut file.trouble {
                trouble.kept.remove(reference);
            }
        }
    }

    /// Reads one object again: that of a second definition whose first one is gone.
    fn object(&self, identity: &Identity) -> Option<Object> {
        let text = scan::read(&identity.file).ok()?;
        let piece = split(&text).into_iter().find(|piece| piece.hash == identity.hash)?;
        document::object_at(piece.of(&text), identity.spot, &self.namespace)
    }
}

/// Which earlier objects of a file stay in use although its present text does not define them.
fn kept(earlier: BTreeSet<ObjectRef>, pieces: &[PieceState]) -> BTreeSet<ObjectRef> {
    let spoiled = |reference: &ObjectRef| {
        pieces.iter().any(|piece| match piece.contents.spoiled() {
            Spoiled::Nothing => false,
            Spoiled::Objects(objects) => objects.contains(reference),
            Spoiled::Unknown => true,
        })
    };
    let defined: BTreeSet<_> =
        pieces.iter().flat_map(|piece| piece.contents.entries.iter()).map(|entry| &entry.reference).collect();
    earlier.iter().filter(|reference| !defined.contains(reference) && spoiled(reference)).cloned().collect()
}

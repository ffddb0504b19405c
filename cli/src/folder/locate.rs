//! Finds the file and line of any field of an object.
//!
//! Lines are not kept in memory: most are never asked for. A locator reads the files again and keeps what it parsed
//! for as long as it lives, so use one for a whole report and drop it.

use super::document::Spot;
use super::split::{Piece, split};
use super::yaml::{Lines, parse_with_lines};
use super::{Folder, Place, scan};
use crate::finding::Position;
use serde_json::Value;
use sluice_crds::ObjectRef;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Answers where things stand.
#[derive(Debug)]
pub struct Locator<'a> {
    folder: &'a Folder,
    files: HashMap<Arc<Path>, Pieces>,
    found: HashMap<(Arc<Path>, u64), Found>,
}

/// A file as it is now, and its pieces by hash.
#[derive(Debug, Default)]
struct Pieces {
    text: String,
    by_hash: HashMap<u64, Piece>,
}

impl Pieces {
    fn read(file: &Path) -> Self {
        let text = scan::read(file).unwrap_or_default();
        Self { by_hash: split(&text).into_iter().map(|piece| (piece.hash, piece)).collect(), text }
    }
}

/// A piece in the text of now.
#[derive(Debug, Default)]
struct Found {
    first_line: u32,
    documents: Vec<(Value, Lines)>,
}

impl<'a> Locator<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Self { folder, files: HashMap::new(), found: HashMap::new() }
    }

    /// Where a field of an object stands, or the nearest field around it; `""` is the object itself. `None` for an
    /// object that no file defines.
    pub fn position(&mut self, object: &ObjectRef, field: &str) -> Option<Position> {
        let place = self.folder.places.get(object)?.first()?.clone();
        self.position_in(&place, field)
    }

    /// Where the item of a list of the object, such as `spec.listeners`, stands that satisfies a condition; else the
    /// list itself.
    pub fn item(
        &mut self,
        object: &ObjectRef,
        list: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Position> {
        let place = self.folder.places.get(object)?.first()?.clone();
        let items = self
            .value_at(&place)
            .and_then(|object| list.split('.').try_fold(object, |value, part| value.get(part))?.as_array());
        match items.and_then(|items| items.iter().position(wanted)) {
            Some(index) => self.position_in(&place, &format!("{list}[{index}]")),
            None => self.position_in(&place, list),
        }
    }

    /// The object as it is written.
    pub fn value(&mut self, object: &ObjectRef) -> Option<&Value> {
        let place = self.folder.places.get(object)?.first()?.clone();
        self.value_at(&place)
    }

    fn value_at(&mut self, place: &Place) -> Option<&Value> {
        let piece = self.folder.files.get(&*place.file)?.pieces.get(place.piece())?;
        let spot = piece.contents.entries.get(place.entry())?.spot;
        let (document, _) = self.found(&place.file, piece.hash).documents.get(spot.document as usize)?;
        match spot.item() {
            Some(item) => document.get("items")?.get(item as usize),
            None => Some(document),
        }
    }

    pub(super) fn position_in(&mut self, place: &Place, field: &str) -> Option<Position> {
        let piece = self.folder.files.get(&*place.file)?.pieces.get(place.piece())?;
        let spot: Spot = piece.contents.entries.get(place.entry())?.spot;
        let known_line = piece.first_line;
        let found = self.found(&place.file, piece.hash);
        let line = found
            .documents
            .get(spot.document as usize)
            .map(|(_, lines)| lines.of(&spot.path(field)).unwrap_or_else(|| lines.start()))
            .map_or(known_line, |line| found.first_line.saturating_add(line).saturating_sub(1));
        Some(Position { file: place.file.to_path_buf(), line })
    }

    fn found(&mut self, file: &Arc<Path>, hash: u64) -> &Found {
        let files = &mut self.files;
        self.found.entry((file.clone(), hash)).or_insert_with(|| {
            let pieces = files.entry(file.clone()).or_insert_with(|| Pieces::read(file));
            let Some(piece) = pieces.by_hash.get(&hash) else { return Found::default() };
            let documents = parse_with_lines(piece.of(&pieces.text)).unwrap_or_default();
            Found { first_line: piece.first_line, documents }
        })
    }
}

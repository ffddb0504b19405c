//! Which files of a folder hold manifests, and whether one of them has changed.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _};
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The largest file that is read.
const MOST_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Files of one folder.
const MOST_FILES: usize = 50_000;
/// Nesting of folders; links can make a tree endless.
const MOST_DEPTH: usize = 16;

/// What tells two states of a file apart without reading it: a hash of its inode, length and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(NonZeroU64);

impl Stamp {
    fn of(it: &Metadata) -> Self {
        let mut hasher = DefaultHasher::new();
        let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        (it.dev(), it.ino(), it.len(), times).hash(&mut hasher);
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN))
    }

    /// The stamp of a regular file (or of the one that a link names); `None` when there is none.
    pub(super) fn read(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Self::of(&metadata))
    }
}

/// The manifests below a folder, and what could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    pub(super) failures: Vec<(PathBuf, String)>,
}

/// Lists every `*.yaml`, `*.yml` and `*.json` below `root`, following links. Names that begin with a dot are left out
/// (editors' files, and the data folders of a mounted ConfigMap, whose links are followed). `root` may be one file.
///
/// # Errors
/// When `root` itself can't be read.
pub(super) fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    let metadata = fs::metadata(root)?;
    if metadata.is_file() {
        scan.files.insert(root.to_owned(), Stamp::of(&metadata));
        return Ok(scan);
    }
    fs::read_dir(root)?;
    let mut seen = HashSet::from([(metadata.dev(), metadata.ino())]);
    walk(root, 0, &mut seen, &mut scan);
    Ok(scan)
}

fn walk(folder: &Path, depth: usize, seen: &mut HashSet<(u64, u64)>, scan: &mut Scan) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return scan.failures.push((folder.to_owned(), format!("can't list the folder: {error}")));
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        // A link to nowhere, or an entry that is gone by now.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            if depth < MOST_DEPTH && seen.insert((metadata.dev(), metadata.ino())) {
                walk(&path, depth + 1, seen, scan);
            }
        } else if metadata.is_file() && is_manifest(&path) {
            if scan.files.len() >= MOST_FILES {
                return scan
                    .failures
                    .push((path, format!("left out: there are more than {MOST_FILES} files")));
            }
            scan.files.insert(path, Stamp::of(&metadata));
        }
    }
}

/// Whether the name ends as a manifest's does.
fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a path is that of a manifest below `root`, or `root` itself: no part of it begins with a dot.
pub(super) fn is_manifest_of(root: &Path, path: &Path) -> bool {
    let is_hidden = |part: Component<'_>| part.as_os_str().as_encoded_bytes().starts_with(b".");
    match path.strip_prefix(root) {
        Ok(below) if below.as_os_str().is_empty() => true,
        Ok(below) => is_manifest(path) && !below.components().any(is_hidden),
        Err(_) => false,
    }
}

/// The text of a file, or why there is none.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("can't read the file: {error}"))?;
    let mut bytes = Vec::new();
    let read = file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("can't read the file: {error}"))?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        return Err(format!("the file is larger than {MOST_FILE_BYTES} bytes; split it"));
    }
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text; save it as UTF-8".to_owned())
}

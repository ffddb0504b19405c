//! Records as files of a folder, for one process or several on one machine.
//!
//! One file a record, so that a certificate and its key change together: `KIND/NAMESPACE/NAME.json`, readable by the
//! owner alone, written beside and renamed. A lock on the folder makes compare and swap atomic between processes; the
//! system gives it back when its holder dies.

use super::{Data, Entry, Item, Store, StoreError, Version};
use crate::CertificateKey;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Actions at one time, so that many certificates don't start as many threads.
const PARALLEL: usize = 16;
/// Largest record that is read.
const MAX_LEN_BYTES: u64 = 1 << 20;

/// A store in a folder.
#[derive(Clone, Debug)]
pub struct FolderStore {
    folder: Arc<Path>,
    gate: Arc<Semaphore>,
}

/// What a file holds.
#[derive(Deserialize, Serialize)]
struct Stored {
    version: u64,
    files: BTreeMap<String, String>,
}

impl FolderStore {
    /// Opens the folder, which is made with mode 0700 when there is none.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        Ok(Self { folder: Arc::from(folder), gate: Arc::new(Semaphore::new(PARALLEL)) })
    }

    /// Keys of all certificates that are kept, in no order. What can't be a key is passed over.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub async fn certificates(&self) -> io::Result<Vec<CertificateKey>> {
        let folder = self.folder.join("certificates");
        tokio::task::spawn_blocking(move || certificates(&folder)).await?
    }

    fn path(&self, item: &Item) -> PathBuf {
        let (kind, name) = match item {
            Item::Account(name) => ("accounts", name.as_str()),
            Item::Budget(name) => ("budgets", name.as_str()),
            Item::Order(key) => ("orders", key.as_str()),
            Item::Certificate(key) => ("certificates", key.as_str()),
        };
        let mut path = self.folder.join(kind);
        path.extend(name.split('/').map(file_name));
        path.add_extension("json");
        path
    }

    /// Runs a blocking action on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        item: &Item,
        action: impl FnOnce(&Self, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (store, path) = (self.clone(), self.path(item));
        let permit = self.gate.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            // Held until the action is over, also when nobody waits for it any more.
            let _permit = permit;
            action(&store, &path)
        })
        .await;
        done.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// Holds the lock of the folder until it is dropped.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.folder.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| unavailable(&path, &error))?;
        file.lock().map_err(|error| unavailable(&path, &error))?;
        Ok(file)
    }
}

#[async_trait]
impl Store for FolderStore {
    async fn read(&self, item: &Item) -> Result<Option<Entry>, StoreError> {
        self.blocking(item, |_, path| Ok(load(path)?.map(entry))).await
    }

    async fn write(
        &self,
        item: &Item,
        data: &Data,
        expected: Option<&Version>,
    ) -> Result<Version, StoreError> {
        let (files, expected) = (data.0.clone(), expected.cloned());
        self.blocking(item, move |store, path| {
            let _lock = store.lock()?;
            let version = current(path)?;
            if version.map(text) != expected {
                return Err(StoreError::Conflict);
            }
            let stored = Stored { version: version.unwrap_or(0) + 1, files };
            save(path, &stored).map_err(|error| unavailable(path, &error))?;
            Ok(text(stored.version))
        })
        .await
    }

    async fn delete(&self, item: &Item, expected: &Version) -> Result<(), StoreError> {
        let expected = expected.clone();
        self.blocking(item, move |store, path| {
            let _lock = store.lock()?;
            if current(path)?.map(text) != Some(expected) {
                return Err(StoreError::Conflict);
            }
            fs::remove_file(path).map_err(|error| unavailable(path, &error))
        })
        .await
    }
}

fn certificates(folder: &Path) -> io::Result<Vec<CertificateKey>> {
    let mut keys = Vec::new();
    for namespace in entries(folder)? {
        for file in entries(&namespace)? {
            let name = file.file_name().and_then(|it| it.to_str()).and_then(|it| it.strip_suffix(".json"));
            let namespace = namespace.file_name().and_then(|it| it.to_str());
            // Namespaces and names of Secrets are written as they are.
            if let (Some(namespace), Some(name)) = (namespace, name)
                && file_name(name) == name
            {
                keys.push(CertificateKey::new(format!("{namespace}/{name}")));
            }
        }
    }
    Ok(keys)
}

/// What is in a folder; nothing when there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|it| Ok(it?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn text(version: u64) -> Version {
    Version(version.to_string())
}

fn entry(stored: Stored) -> Entry {
    Entry { version: text(stored.version), data: Data(stored.files) }
}

fn current(path: &Path) -> Result<Option<u64>, StoreError> {
    Ok(load(path)?.map(|stored| stored.version))
}

fn load(path: &Path) -> Result<Option<Stored>, StoreError> {
    let len = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable(path, &error)),
    };
    if len > MAX_LEN_BYTES {
        return Err(StoreError::Unavailable(format!(
            "{}: larger than {MAX_LEN_BYTES} bytes",
            path.display()
        )));
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable(path, &error)),
    };
    // The parser's text could show what the file holds, so it is left out.
    let unreadable =
        |_| StoreError::Unavailable(format!("{}: no record; delete the file to start anew", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// Written beside, synced, renamed: a reader and a crash see the old record or the new one.
fn save(path: &Path, stored: &Stored) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(stored)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

/// A name that stays in its folder: whatever is not a letter, digit, `-`, `_` or inner dot is written as `%XX`.
fn file_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            b'.' if at > 0 => out.push('.'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{FolderStore, file_name};
    use crate::{CertificateKey, Data, Item, Store, StoreError, Version};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    fn item() -> Item {
        Item::Order(CertificateKey::new("shop/web"))
    }

    #[tokio::test]
    async fn a_write_needs_the_version_it_builds_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::open(folder.path()).unwrap();
        let data = Data::one("a", "1");
        assert_eq!(store.read(&item()).await.unwrap(), None);
        let first = store.write(&item(), &data, None).await.unwrap();
        assert!(matches!(store.write(&item(), &data, None).await, Err(StoreError::Conflict)));
        let second = store.write(&item(), &Data::one("a", "2"), Some(&first)).await.unwrap();
        assert!(matches!(store.write(&item(), &data, Some(&first)).await, Err(StoreError::Conflict)));
        assert!(matches!(store.delete(&item(), &first).await, Err(StoreError::Conflict)));
        let certificate = Item::Certificate(CertificateKey::new("shop/web.example"));
        store.write(&certificate, &data, None).await.unwrap();
        assert_eq!(store.certificates().await.unwrap(), [CertificateKey::new("shop/web.example")]);
        let read = store.read(&item()).await.unwrap().unwrap();
        assert_eq!((read.version.clone(), read.data.get("a")), (second.clone(), Some("2")));
        store.delete(&item(), &second).await.unwrap();
        assert!(matches!(store.delete(&item(), &second).await, Err(StoreError::Conflict)));
    }

    #[tokio::test]
    async fn of_many_writers_on_one_version_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        // Two handles, as two processes have them.
        let stores = [(); 2].map(|()| Arc::new(FolderStore::open(folder.path()).unwrap()));
        let mut version: Option<Version> = None;
        for round in 0..20 {
            let writes = (0..8).map(|n| {
                let (store, version) = (stores[n % 2].clone(), version.clone());
                tokio::spawn(async move {
                    store.write(&item(), &Data::one("n", format!("{round}-{n}")), version.as_ref()).await
                })
            });
            let done = futures::future::join_all(writes).await;
            let won: Vec<_> = done.into_iter().filter_map(|it| it.unwrap().ok()).collect();
            assert_eq!(won.len(), 1);
            version = won.into_iter().next();
        }
    }

    #[tokio::test]
    async fn files_are_for_their_owner_alone_and_a_broken_one_says_so_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let store = FolderStore::open(&root).unwrap();
        store.write(&item(), &Data::one("key", "secret"), None).await.unwrap();
        let path = root.join("orders/shop/web.json");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(root.join("orders/shop").metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(&path, "secret").unwrap();
        let error = store.read(&item()).await.unwrap_err().to_string();
        assert!(
            error.ends_with("no record; delete the file to start anew") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        assert_eq!(file_name("web-1.example"), "web-1.example");
        assert_eq!(file_name(".."), "%2E.");
        assert_eq!(file_name("*.a"), "%2A.a");
        assert_eq!(file_name(""), "");
        let store = FolderStore {
            folder: std::path::Path::new("/s").into(),
            gate: Arc::new(tokio::sync::Semaphore::new(1)),
        };
        let path = store.path(&Item::Order(CertificateKey::new("../../etc/x")));
        assert_eq!(path.to_str(), Some("/s/orders/%2E./%2E./etc/x.json"));
    }
}

//! `/etc/hosts` of pods: a file for each namespace, in which the Services of that namespace have their short names too.
//! It stands in for the cluster's DNS.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<Mutex<Inner>>);

struct Inner {
    folder: PathBuf,
    /// Addresses by namespace and name.
    services: BTreeMap<(String, String), Ipv4Addr>,
    files: BTreeMap<String, PathBuf>,
}

impl Hosts {
    /// Files in a new folder.
    pub(crate) fn create(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self(Arc::new(Mutex::new(Inner { folder, services: BTreeMap::new(), files: BTreeMap::new() }))))
    }

    /// The file of a namespace's pods.
    pub(crate) fn of(&self, namespace: &str) -> io::Result<PathBuf> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = inner.files.get(namespace) {
            return Ok(path.clone());
        }
        let path = inner.folder.join(namespace);
        fs::write(&path, inner.text(namespace))?;
        inner.files.insert(namespace.to_owned(), path.clone());
        Ok(path)
    }

    /// Takes the cluster's Services as they are now.
    pub(crate) fn set(&self, services: BTreeMap<(String, String), Ipv4Addr>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.services = services;
        for (namespace, path) in &inner.files {
            let _ = rewrite(path, &inner.text(namespace));
        }
    }
}

impl Inner {
    fn text(&self, own: &str) -> String {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for ((namespace, name), address) in &self.services {
            let _ = write!(
                text,
                "{address} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local {name}.{namespace}"
            );
            if namespace == own {
                let _ = write!(text, " {name}");
            }
            text.push('\n');
        }
        text
    }
}

/// Writes a file in place: it is mounted into pods.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

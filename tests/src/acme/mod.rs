//! An ACME authority and the DNS it looks at, as real programs on loopback: [`Pebble`] and [`Named`]. [`Responder`] answers
//! challenges as a data plane does; [`Allow`] says which names
//! of handshakes may have a certificate; [`Front`] stands before Pebble, adds what its Debian version lacks, and makes the
//! network fail. [`World`] is all of them started together.
//!
//! Each has a loopback address of its own and fixed ports there, so tests run beside each other. Debian packages:
//! `pebble` and `bind9`.

mod allow;
mod front;
mod hook;
mod named;
mod pebble;
mod responder;
mod world;

pub use allow::Allow;
pub use front::{Front, Orders};
pub use hook::{Call, Hook};
pub use named::{KEY_NAME, Named, ZONE};
pub use pebble::{ACCOUNT_KEY, Pebble, PebbleOptions};
pub use responder::{HTTP_PORT, Responder, TLS_PORT};
pub use world::{ISSUER, Running, World, key_of, set, settings, start, wanted};

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// A program with what it said. Killed when dropped.
struct Program {
    _child: Child,
    said: Arc<Mutex<String>>,
}

impl Program {
    fn start(mut command: Command, package: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; install the Debian package {package}"));
        let said = Arc::default();
        listen(child.stdout.take(), &said);
        listen(child.stderr.take(), &said);
        Self { _child: child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps what a program says.
fn listen(stream: Option<impl AsyncRead + Send + Unpin + 'static>, said: &Arc<Mutex<String>>) {
    let (Some(stream), said) = (stream, said.clone()) else { return };
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&line);
            said.push('\n');
        }
    });
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path.to_str().expect("a plain path").to_owned()
}

//! The life of `sluice run`: start, edits under load, signals, end. Each test runs the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod drain;
mod edits;
mod starts;

use sluice_tests::{Sluice, backends::Backends, manifests};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A folder with a Gateway, a route that marks its answers with `x-version`, and an echo in this process behind it.
struct Scene {
    folder: TempDir,
    _backends: Backends,
    backend: String,
}

impl Scene {
    async fn new() -> Self {
        let mut backends = Backends::default();
        let address = backends.start("main".to_owned()).await;
        let backend = manifests::backend_at("main.test", 80, "HTTP", "127.0.0.1", address.port());
        let scene = Self { folder: tempfile::tempdir().unwrap(), _backends: backends, backend };
        scene.write("gateway.yaml", manifests::GATEWAY);
        scene.write("backend.yaml", &scene.backend);
        scene.write("route.yaml", &version(0));
        scene
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file as an editor does: whole, then renamed into its place.
    fn write(&self, name: &str, text: &str) {
        let draft = self.path().join(format!(".{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path().join(name)).unwrap();
    }

    async fn run(&self) -> Sluice {
        Sluice::run(self.path(), &[]).await
    }
}

/// A route for every host whose answers carry this version.
fn version(number: u32) -> String {
    let filter = format!(
        "  - filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-version, value: \"{number}\"}}]}}}}]\n    backendRefs"
    );
    manifests::route("all", &[], "main.test", 80).replace("  - backendRefs", &filter)
}

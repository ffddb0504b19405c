//! Real clients through a real gateway: curl, h2load, a WebSocket client, a gRPC client, and streams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod curl;
mod grpc;
mod h2load;
mod http;
mod openssl;
mod streams;
mod testssl;
mod websocket;

use sluice_tests::{Stand, manifests};
use std::path::Path;
use tokio::process::Command;

/// Plain on port 80; every host goes to one echo.
async fn plain_stand() -> Stand {
    Stand::start(&plain_manifests()).await
}

fn plain_manifests() -> String {
    [
        manifests::GATEWAY,
        &manifests::backend("main.test", 80, "HTTP"),
        &manifests::route("all", &[], "main.test", 80),
    ]
    .concat()
}

/// Plain on port 80 and TLS on port 443 for `*.example.com`, with this Secret's documents.
fn tls_manifests(secret: &str) -> String {
    [
        manifests::GATEWAY,
        "  - name: https
    port: 443
    protocol: HTTPS
    hostname: '*.example.com'
    tls: {certificateRefs: [{name: web}]}
",
        &manifests::backend("main.test", 80, "HTTP"),
        &manifests::route("all", &[], "main.test", 80),
        secret,
    ]
    .concat()
}

/// Runs a program to its end; it must succeed.
async fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = sluice_tests::soon(program, output)
        .await
        .unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {text}", output.status);
    output.stdout
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

//! h2load: many requests at once, in both versions, plain and over TLS.

use crate::{plain_stand, run, tls_manifests};
use sluice_tests::Stand;
use sluice_tests::tls::Authority;

async fn load(arguments: &[&str]) {
    let output = run("h2load", &[&["-n", "1000", "-c", "10", "-t", "1"], arguments].concat()).await;
    let text = String::from_utf8(output).unwrap();
    let wanted = "1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout";
    assert!(text.contains(wanted), "{arguments:?}: {text}");
    assert!(text.contains("status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{arguments:?}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_and_none_fails() {
    let stand = plain_stand().await;
    let url = format!("http://{}/bytes/1024", stand.address(80));
    load(&["--h1", &url]).await;
    load(&["-m", "10", &url]).await;
    // Uploads.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("up");
    std::fs::write(&file, vec![b'x'; 10_000]).unwrap();
    let url = format!("http://{}/stream", stand.address(80));
    load(&["--h1", "-d", crate::text(&file), &url]).await;
    load(&["-m", "10", "-d", crate::text(&file), &url]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_over_tls_and_none_fails() {
    let authority = Authority::new();
    let stand = Stand::start(&tls_manifests(&authority.issue(&["*.example.com"]).secret("web"))).await;
    let connect = format!("--connect-to={}", stand.address(443));
    load(&["--h1", &connect, "https://a.example.com/bytes/1024"]).await;
    load(&["-m", "10", &connect, "https://a.example.com/bytes/1024"]).await;
}

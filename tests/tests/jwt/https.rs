//! Keys over TLS, by the real program: authorities of the system are believed and no others.

use crate::{bearing, claims, issuer, manifests_with};
use sluice_tests::pki::{Pki, Wish};
use sluice_tests::{Sluice, TlsBackend, TlsBackendOptions, eventually, loopback};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_over_tls_are_those_of_whom_the_system_trusts() {
    let (key, issuer) = issuer("ES256").await;
    let certificate =
        Wish { signed_by: "first".to_owned(), names: vec!["localhost".to_owned()], uris: Vec::new() };
    let options = TlsBackendOptions { certificate, asks_for: None };
    let tls = TlsBackend::start(&options, issuer.address()).await;
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("https://localhost:{}/keys", tls.address().port());
    let rules = format!("[{{issuer: https://id.test, jwksUri: {uri}, timeout: 2s}}]");
    std::fs::write(folder.path().join("all.yaml"), manifests_with(&rules)).unwrap();
    for (authority, is_believed) in [("first", true), ("second", false)] {
        let trusted = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(trusted.path(), Pki::named(authority).pem()).unwrap();
        let variables =
            [("SSL_CERT_FILE", trusted.path().to_str().unwrap()), ("SSL_CERT_DIR", "/nonexistent")];
        let mut sluice = Sluice::spawn_with(loopback(), folder.path(), &[], &variables);
        sluice.ready().await;
        let ask = bearing(&key.token(&claims()));
        // The backend of the manifests is nobody: what counts is that the gateway asks it.
        let status = sluice.request(&ask).await.status;
        assert_eq!(status == 401, !is_believed, "{authority}: {status}: {}", sluice.said());
        if !is_believed {
            eventually("it says why", || async { sluice.said().contains("TLS:") }).await;
        }
        assert!(sluice.terminate().await.success());
    }
    assert_eq!(tls.latest().unwrap().server_name.as_deref(), Some("localhost"));
    assert_eq!(issuer.asked().len(), 1, "who is not trusted is sent no request");
}

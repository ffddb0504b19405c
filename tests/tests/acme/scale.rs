//! Many certificates at rest.

use rcgen::{CertificateParams, KeyPair};
use sluice_acme::{Data, FolderStore, Issuer, IssuerName, Item, State, Store, WantedSet};
use sluice_tests::acme::{ISSUER, key_of, settings, start, wanted};
use std::sync::Arc;
use std::time::Instant;

const CERTIFICATES: usize = 2_000;
const DIRECTORY: &str = "https://127.0.0.1:1/dir";

async fn keep(store: &dyn Store, number: usize, key: &KeyPair) {
    let mut parameters = CertificateParams::new([format!("n{number}.example.test")]).unwrap();
    let now = std::time::SystemTime::now();
    parameters.not_before = now.into();
    parameters.not_after = (now + std::time::Duration::from_secs(90 * 24 * 3600)).into();
    let chain = parameters.self_signed(key).unwrap().pem();
    let about = serde_json::json!({
        "issuer": ISSUER, "directory": DIRECTORY, "profile": null, "key_type": "ecdsa-p256",
    });
    let file = |name: &str, text: String| (name.to_owned(), text);
    let files =
        [file("tls.crt", chain), file("tls.key", key.serialize_pem()), file("acme.json", about.to_string())];
    store.write(&Item::Certificate(key_of(&format!("n{number}"))), &Data(files.into()), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_certificates_that_need_nothing_are_known_soon_also_while_the_authority_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FolderStore::open(folder.path()).unwrap());
    let key = KeyPair::generate().unwrap();
    let mut certificates = Vec::new();
    for number in 0..CERTIFICATES {
        keep(&*store, number, &key).await;
        certificates.push(wanted(&format!("n{number}"), &[&format!("n{number}.example.test")]));
    }
    let issuer = Issuer::new(IssuerName::new(ISSUER), DIRECTORY);
    let set = WantedSet { issuers: vec![Arc::new(issuer)], certificates, ..WantedSet::default() };
    let started = Instant::now();
    let challenges = Arc::new(sluice_tests::acme::Responder::start().await);
    let engine = start(store, challenges, settings("many"), set);
    let mut statuses = engine.handle.statuses();
    let all = statuses.wait_for(|all| {
        all.len() == CERTIFICATES && all.values().all(|it| matches!(it.state, State::Valid { .. }))
    });
    sluice_tests::soon("all are known", all).await.unwrap();
    println!("{CERTIFICATES} certificates are known after {:?}", started.elapsed());
}

//! What an engine says of itself holds no key.

use crate::resume::certificate;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sluice_acme::{AccountBinding, Item, Secret};
use sluice_tests::acme::{ACCOUNT_KEY, ISSUER, PebbleOptions, World, set, wanted};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_key_is_in_a_log_of_any_level_or_in_what_prints() {
    let kept = Kept::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(kept.clone());
    // For the whole process: beside other tests, what one thread alone listens to may be thought unheard.
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let options = PebbleOptions { needs_account_key: true, ..PebbleOptions::default() };
    let world = World::start(options).await;
    let mut issuer = world.issuer(&[world.rfc2136()]);
    let binding = URL_SAFE_NO_PAD.decode(ACCOUNT_KEY.1).unwrap();
    issuer.account_binding = Some(AccountBinding { key_id: "kid-1".to_owned(), key: Secret::new(binding) });
    let engine = world.engine(set(&issuer, vec![wanted("web", &["*.quiet.example.test"])]));
    engine.issued("web").await;
    let account =
        world.store().read(&Item::Account(sluice_acme::IssuerName::new(ISSUER))).await.unwrap().unwrap();
    let record = account.data.get("account.json").unwrap().to_owned();
    let account_key: serde_json::Value = serde_json::from_str(&record).unwrap();
    let data = certificate(&world, "web").await.unwrap();
    let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let statuses = engine.handle.statuses().borrow().clone();
    let shown = format!("{said}{issuer:?}{account:?}{data:?}{statuses:?}{:?}", engine.handle);
    assert!(
        said.contains("the ACME account is ready") && said.len() > 10_000,
        "the log was kept: {}",
        said.len()
    );
    let key_body = data.get("tls.key").unwrap().lines().nth(1).unwrap();
    let secrets = [
        ACCOUNT_KEY.1,
        account_key["key"].as_str().unwrap(),
        key_body,
        &STANDARD.encode(world.named.key()),
        std::str::from_utf8(world.named.key()).unwrap(),
        &format!("{:?}", world.named.key()),
    ];
    for (number, secret) in secrets.iter().enumerate() {
        assert!(secret.len() > 20 && !shown.contains(secret), "secret {number} is shown");
    }
}

//! Who a data plane is, as a real API server says; and the authority that all replicas of the controller share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::core::ObjectMeta;
use sluice_cluster_tests::{Space, eventually, shared};
use sluice_controller::ca::{Authority, SECRET};
use sluice_controller::serve::{AUDIENCE, Authenticator as _, Denied, TokenReviewer};
use sluice_controller::tickets;
use sluice_ir::GatewayKey;
use std::collections::BTreeMap;
use std::time::SystemTime;

async fn account(space: &Space, name: &str) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    space.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
}

async fn token(space: &Space, account: &str, audience: &str) -> String {
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        expiration_seconds: Some(600),
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts = space.api::<ServiceAccount>();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token
}

#[test]
fn a_token_for_our_audience_says_whose_it_is_and_no_other_token_is_taken() {
    shared(async |space| {
        account(&space, "web-sluice").await;
        let reviewer = TokenReviewer::new(space.client.clone(), &[AUDIENCE]);
        let good = token(&space, "web-sluice", AUDIENCE).await;
        let identity = reviewer.authenticate(&good).await.unwrap();
        assert_eq!(identity.namespace, space.namespace);
        assert_eq!(identity.service_account, "web-sluice");
        assert!(identity.expires.unwrap() > SystemTime::now());
        let foreign = token(&space, "web-sluice", "somebody-else").await;
        let mut forged = good.clone();
        forged.replace_range(good.len() - 4.., "AAAA");
        for wrong in [foreign, forged, "nonsense".to_owned()] {
            let denied = reviewer.authenticate(&wrong).await.unwrap_err();
            assert!(matches!(denied, Denied::Invalid(_)), "{denied:?}");
        }
        // The token of an account that is gone is worth nothing, however long it would be valid. The API server may
        // remember its own answer for some seconds.
        space.api::<ServiceAccount>().delete("web-sluice", &DeleteParams::default()).await.unwrap();
        let denied = eventually("the token of a deleted account is refused", async || {
            match TokenReviewer::new(space.client.clone(), &[AUDIENCE]).authenticate(&good).await {
                Err(denied) => Ok(denied),
                Ok(identity) => Err(format!("{identity:?}")),
            }
        })
        .await;
        assert!(matches!(denied, Denied::Invalid(_)), "{denied:?}");
    });
}

#[test]
fn replicas_that_start_together_share_one_authority() {
    shared(async |space| {
        let load = || Authority::load(space.client.clone(), &space.namespace, vec!["controller".to_owned()]);
        let (one, other, third) = tokio::join!(load(), load(), load());
        let bundles = [one, other, third].map(|it| it.unwrap().bundle().borrow().clone());
        assert!(bundles[0].contains("BEGIN CERTIFICATE") && !bundles[0].contains("PRIVATE"));
        assert!(bundles.iter().all(|bundle| *bundle == bundles[0]));
        let secret = space.api::<Secret>().get(SECRET).await.unwrap();
        assert_eq!(secret.data.unwrap()["ca.crt"].0, bundles[0].as_bytes());
        // What is no authority is not replaced unasked.
        space.api::<Secret>().delete(SECRET, &DeleteParams::default()).await.unwrap();
        let metadata = ObjectMeta { name: Some(SECRET.to_owned()), ..ObjectMeta::default() };
        let empty = Secret { metadata, ..Secret::default() };
        space.api::<Secret>().create(&PostParams::default(), &empty).await.unwrap();
        let error = format!("{:#}", load().await.err().expect("no authority"));
        assert!(error.contains("delete it to have a new one made"), "{error}");
    });
}

#[test]
fn replicas_that_start_together_share_the_root_of_session_tickets() {
    shared(async |space| {
        let gateway = GatewayKey::new("shop/web");
        let load = async || {
            let (tickets, _keeper) = tickets::load(space.client.clone(), &space.namespace).await;
            tickets.of(&gateway)
        };
        let (one, other, third) = tokio::join!(load(), load(), load());
        assert_eq!(one.len(), 1);
        assert!(one == other && one == third);
        let secret = space.api::<Secret>().get(tickets::SECRET).await.unwrap();
        let roots = secret.data.unwrap();
        assert_eq!(roots.len(), 1);
        // No data plane gets the root itself.
        assert!(roots.values().all(|root| root.0 != one[0].expose()));
        // Nobody depends on what is no root any more: it is replaced, and old sessions end.
        space.api::<Secret>().delete(tickets::SECRET, &DeleteParams::default()).await.unwrap();
        let metadata = ObjectMeta { name: Some(tickets::SECRET.to_owned()), ..ObjectMeta::default() };
        let string_data = Some(BTreeMap::from([("1".to_owned(), "no root".to_owned())]));
        let broken = Secret { metadata, string_data, ..Secret::default() };
        space.api::<Secret>().create(&PostParams::default(), &broken).await.unwrap();
        let new = load().await;
        assert_eq!(new.len(), 1);
        assert_ne!(new, one);
    });
}

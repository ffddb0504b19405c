//! Handshakes between workloads, over memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Identity, IdentityError, peer_id};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::ServerName;
use sluice_ir::SpiffeId;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ca::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

fn identity(id: &str, by: &Ca, roots: &[&Ca]) -> Result<Arc<Identity>, IdentityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id).unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, by).unwrap().pem();
    let roots: String = roots.iter().map(|it| it.pem()).collect();
    Identity::from_pem(&chain, &key.serialize_pem(), &roots, SystemTime::now()).map(Arc::new)
}

/// Who the server has seen, and by which protocol they speak; or why there is no connection, as the client and the server
/// have it.
async fn shake(
    server: &Identity,
    domains: &[&str],
    client: &Identity,
    expected: &[&str],
) -> Result<(SpiffeId, Vec<u8>), String> {
    let domains: Vec<String> = domains.iter().map(|&it| it.to_owned()).collect();
    let accepting = server.server_config(&domains, &[b"istio-h2", b"istio"]).unwrap();
    let expected: Arc<[SpiffeId]> = expected.iter().map(|it| id(it)).collect();
    let connecting = client.client_config(expected, &[b"istio-h2", b"istio", b"h2"]).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("outbound_.80_._.cart.shop.svc.cluster.local").unwrap();
    let connect = TlsConnector::from(Arc::new(connecting)).connect(name, near);
    let accept = TlsAcceptor::from(Arc::new(accepting)).accept(far);
    let (connected, accepted) =
        tokio::join!(async { connect.await.map_err(|error| error.to_string()) }, async {
            accept.await.map_err(|error| error.to_string())
        });
    match (connected, accepted) {
        (Ok(_), Ok(accepted)) => {
            let session = accepted.get_ref().1;
            assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            let protocol = session.alpn_protocol().unwrap_or_default().to_vec();
            Ok((peer_id(session.peer_certificates()).expect("a peer"), protocol))
        }
        (connected, accepted) => Err(format!("client: {:?}, server: {:?}", connected.err(), accepted.err())),
    }
}

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[tokio::test]
async fn two_workloads_of_a_mesh_know_each_other() {
    let ca = ca("root");
    let (cart, web) = (identity(CART, &ca, &[&ca]).unwrap(), identity(WEB, &ca, &[&ca]).unwrap());
    let (peer, protocol) = shake(&cart, &["cluster.local"], &web, &[WEB, CART]).await.unwrap();
    assert_eq!((peer, protocol.as_slice()), (id(WEB), b"istio-h2".as_slice()));
    assert!(!format!("{cart:?}").contains("key"));
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_not_spoken_to() {
    let ca = ca("root");
    let (cart, web) = (identity(CART, &ca, &[&ca]).unwrap(), identity(WEB, &ca, &[&ca]).unwrap());
    let refused = shake(&cart, &["cluster.local"], &web, &[WEB]).await.unwrap_err();
    assert!(refused.contains("which was not expected"), "{refused}");
    let refused = shake(&cart, &["cluster.local"], &web, &[]).await.unwrap_err();
    assert!(refused.contains("which was not expected"), "{refused}");
    // The same account of another trust domain is another one.
    let other = "spiffe://other.example/ns/shop/sa/cart";
    assert!(shake(&cart, &["cluster.local"], &web, &[other]).await.is_err());
}

#[tokio::test]
async fn a_trust_domain_is_taken_when_it_is_the_own_or_an_alias() {
    let ca = ca("root");
    let cart = identity(CART, &ca, &[&ca]).unwrap();
    let old = identity("spiffe://old.example/ns/shop/sa/web", &ca, &[&ca]).unwrap();
    let domains = ["cluster.local", "old.example"];
    let (peer, _) = shake(&cart, &domains, &old, &[CART]).await.unwrap();
    assert_eq!(peer.trust_domain(), "old.example");
    let refused = shake(&cart, &domains[..1], &old, &[CART]).await.unwrap_err();
    assert!(refused.contains("is not trusted"), "{refused}");
}

#[tokio::test]
async fn whom_another_authority_vouches_for_is_nobody() {
    let (ours, theirs) = (ca("root"), ca("root"));
    let cart = identity(CART, &ours, &[&ours]).unwrap();
    let forged = identity(WEB, &theirs, &[&theirs, &ours]).unwrap();
    assert!(shake(&cart, &["cluster.local"], &forged, &[CART]).await.is_err(), "as a client");
    assert!(shake(&forged, &["cluster.local"], &cart, &[WEB]).await.is_err(), "as a server");
    // An identity that its own roots don't vouch for is not even taken.
    assert!(matches!(identity(CART, &theirs, &[&ours]), Err(IdentityError::Certificate(_))));
}

#[tokio::test]
async fn a_server_of_another_kind_and_a_client_without_a_certificate_get_nothing() {
    let ca = ca("root");
    let cart = identity(CART, &ca, &[&ca]).unwrap();
    let config = cart.server_config(&["cluster.local".to_owned()], &[]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(sluice_xds::svid::PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("cart.shop.svc").unwrap();
    let (_, accepted) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name, near),
        TlsAcceptor::from(Arc::new(config)).accept(far)
    );
    assert!(accepted.is_err());
}

/// Each workload passes through the steps of a rotation on its own, in every order that a cluster may see: a root is
/// trusted everywhere before anybody has a certificate of it, and until nobody has.
#[tokio::test]
async fn while_roots_rotate_no_handshake_fails() {
    let (old, new) = (ca("root"), ca("root"));
    let steps = |name: &str| {
        vec![
            identity(name, &old, &[&old]).unwrap(),
            identity(name, &old, &[&old, &new]).unwrap(),
            identity(name, &new, &[&old, &new]).unwrap(),
            identity(name, &new, &[&new]).unwrap(),
        ]
    };
    let (carts, webs) = (steps(CART), steps(WEB));
    let mut count = 0;
    for (at, cart) in carts.iter().enumerate() {
        // Neighbours may be one step apart.
        for web in &webs[at.saturating_sub(1)..=(at + 1).min(webs.len() - 1)] {
            for (server, client, expected) in [(cart, web, CART), (web, cart, WEB)] {
                shake(server, &["cluster.local"], client, &[expected]).await.unwrap();
                count += 1;
            }
        }
    }
    assert_eq!(count, 20);
}

#[test]
fn an_identity_is_shown_by_names_days_and_fingerprints_without_its_key() {
    let (one, two) = (ca("one"), ca("two"));
    let name = "spiffe://cluster.local/ns/shop/sa/cart";
    let identity = identity(name, &one, &[&one, &two]).unwrap();
    let shown = serde_json::to_value(&*identity).unwrap();
    assert_eq!(shown["id"], name);
    let end: jiff::Timestamp = shown["not_after"].as_str().unwrap().parse().unwrap();
    assert_eq!(SystemTime::from(end), identity.not_after);
    assert_eq!(shown["chain"], serde_json::json!([sluice_ir::fingerprint(&identity.certified.cert[0])]));
    let roots: Vec<&str> = shown["roots"].as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
    for root in [&one, &two] {
        assert!(roots.contains(&sluice_ir::fingerprint(root.der()).as_str()), "{shown}");
    }
    let fields: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["chain", "id", "not_after", "not_before", "roots"]);
}

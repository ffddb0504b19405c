//! Who a workload is, as a real API server says: tokens, Secrets and ConfigMaps on one side, certificates on the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod workload;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use rustls_pki_types::ServerName;
use serde_json::json;
use sluice_cluster_tests::{Authority, eventually, own, shared};
use sluice_controller::identity::{BROUGHT, CONFIG_MAP, SECRET};
use sluice_proxy::identity::{Identity, peer_id};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::Code;
use workload::{Stand, account, token};

#[test]
fn a_service_account_gets_a_certificate_by_its_token_and_by_no_other() {
    shared(async |space| {
        let stand = Stand::start(&space, 0).await;
        account(&space, "cart").await;
        for audience in ["istio-ca", "sluice-controller"] {
            let good = token(&space, "cart", audience).await;
            let identity = stand.get(Some(&good), None).await.unwrap();
            let id = format!("spiffe://cluster.local/ns/{}/sa/cart", space.namespace);
            assert_eq!(identity.id.as_str(), id);
        }
        let good = token(&space, "cart", "istio-ca").await;
        let api = token(&space, "cart", "https://kubernetes.default.svc").await;
        let mut forged = good.clone();
        forged.replace_range(good.len() - 4.., "AAAA");
        let foreign = of_another_cluster(&good);
        let tokens = [None, Some(api.as_str()), Some(&forged), Some(&foreign), Some("nonsense")];
        for token in tokens {
            let refused = stand.get(token, None).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        }
        // The API server may remember its answer for some seconds.
        let accounts = space.api::<k8s_openapi::api::core::v1::ServiceAccount>();
        accounts.delete("cart", &DeleteParams::default()).await.unwrap();
        eventually("the token of a deleted account gets nothing", async || {
            let again = Stand::start(&space, 0).await;
            match again.get(Some(&good), None).await {
                Err(refused) if refused.code() == Code::Unauthenticated => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    });
}

/// The same claims, signed by somebody else's key.
fn of_another_cluster(token: &str) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let signature = rcgen::SigningKey::sign(&key, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Nothing of ours on the client's side: a key and a request by openssl, RSA as Istio's agents have it, the messages byte by
/// byte, and curl.
#[test]
fn curl_and_openssl_get_a_certificate_as_an_agent_of_istio_does() {
    shared(async |space| {
        let stand = Stand::start(&space, 0).await;
        account(&space, "agent").await;
        let token = token(&space, "agent", "istio-ca").await;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let run = async |program: &str, arguments: &[&str]| {
            let mut command = tokio::process::Command::new(program);
            let output = command.args(arguments).current_dir(folder.path()).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{program}: {said}{}", String::from_utf8_lossy(&output.stderr));
            said
        };
        let asked = "subjectAltName=critical,URI:spiffe://cluster.local/ns/kube-system/sa/admin";
        let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"];
        let csr = ["-subj", "/O=agent", "-addext", asked, "-out", "csr.pem"];
        run("openssl", &[&["req", "-new"][..], &key, &csr].concat()).await;
        let csr = std::fs::read(file("csr.pem")).unwrap();
        // Field 1, a text; field 3, 3600.
        let length = u16::try_from(csr.len()).unwrap();
        let mut message =
            vec![0x0a, u8::try_from(length % 128).unwrap() | 0x80, u8::try_from(length / 128).unwrap()];
        message.extend(&csr);
        message.extend([0x18, 0x90, 0x1c]);
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(&message);
        std::fs::write(file("request"), frame).unwrap();
        std::fs::write(file("ca.crt"), stand.ca()).unwrap();
        let connect = format!("controller:443:127.0.0.1:{}", stand.port());
        let authorization = format!("authorization: Bearer {token}");
        let curl = ["-sS", "--http2", "--cacert", "ca.crt", "--connect-to", &connect, "-H", &authorization];
        let grpc = ["-H", "content-type: application/grpc", "-H", "te: trailers"];
        let body = ["--data-binary", "@request", "-o", "answer", "-D", "-"];
        let address = ["https://controller/istio.v1.auth.IstioCertificateService/CreateCertificate"];
        let heads = run("curl", &[&curl[..], &grpc, &body, &address].concat()).await;
        assert!(heads.contains("grpc-status: 0"), "{heads}");

        let answer = std::fs::read(file("answer")).unwrap();
        let mut rest = &answer[5..];
        let mut chain = Vec::new();
        while let [0x0a, low, high, after @ ..] = rest {
            let length = usize::from(low & 0x7f) + 128 * usize::from(*high);
            chain.push(String::from_utf8(after[..length].to_vec()).unwrap());
            rest = &after[length..];
        }
        assert!(rest.is_empty() && chain.len() == 2, "{chain:?}");
        std::fs::write(file("leaf.pem"), &chain[0]).unwrap();
        std::fs::write(file("roots.pem"), &chain[1]).unwrap();
        for purpose in ["sslserver", "sslclient"] {
            run(
                "openssl",
                &["verify", "-x509_strict", "-CAfile", "roots.pem", "-purpose", purpose, "leaf.pem"],
            )
            .await;
        }
        let names = run("openssl", &["x509", "-in", "leaf.pem", "-noout", "-ext", "subjectAltName"]).await;
        let id = format!("URI:spiffe://cluster.local/ns/{}/sa/agent", space.namespace);
        assert!(names.contains("critical") && names.trim().ends_with(&id), "{names}");
        let theirs = run("openssl", &["x509", "-in", "leaf.pem", "-noout", "-pubkey"]).await;
        assert_eq!(theirs, run("openssl", &["pkey", "-in", "key.pem", "-pubout"]).await);
    });
}

#[test]
fn a_certificate_renews_itself_while_the_api_server_is_away() {
    own(async |space| {
        let stand = Stand::start(&space, 0).await;
        account(&space, "cart").await;
        let token = token(&space, "cart", "istio-ca").await;
        let identity = stand.get(Some(&token), None).await.unwrap();
        space.cluster.stop_api_server(true).await.unwrap();
        // What was checked a moment ago is remembered for a minute; this one never was.
        let unknown = format!("{token}A");
        let refused = stand.get(Some(&unknown), None).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let renewed = stand.get(Some(&unknown), Some(&identity)).await.unwrap();
        assert_eq!(renewed.id, identity.id);
        assert_ne!(renewed.certified.cert, identity.certified.cert);
        space.cluster.start_api_server().await.unwrap();
        // A token that is known to be bad is not made good by a certificate.
        let refused = stand.get(Some(&unknown), Some(&identity)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    });
}

#[test]
fn an_authority_that_the_user_brings_signs_as_soon_as_it_is_there_and_a_broken_one_changes_nothing() {
    shared(async |space| {
        let stand = Stand::start(&space, 0).await;
        account(&space, "cart").await;
        let token = token(&space, "cart", "istio-ca").await;
        let ours = stand.get(Some(&token), None).await.unwrap();
        assert_eq!(ours.certified.cert.len(), 1);
        let secret = space.api::<Secret>().get(SECRET).await.unwrap();
        assert!(secret.data.unwrap().contains_key("tls.key"));

        let theirs = Authority::new("theirs");
        space.bring(&space.namespace, &theirs.secret(&[&theirs])).await;
        let identity = eventually("their authority signs", async || {
            let identity = stand.get(Some(&token), None).await?;
            if theirs.signed(&identity) { Ok(identity) } else { anyhow::bail!("ours signs") }
        })
        .await;
        // With the one between, and both roots: certificates of ours are still in use.
        assert_eq!(identity.certified.cert.len(), 2);
        assert_eq!(identity.roots.certificates().count(), 2);
        shake(&ours_with(&ours, &identity), &identity).await.unwrap();

        let mut broken = theirs.secret(&[&Authority::new("others")]);
        space.bring(&space.namespace, &broken).await;
        broken.insert("ca-key.pem".to_owned(), ByteString(b"nonsense".to_vec()));
        space.bring(&space.namespace, &broken).await;
        let other = Authority::new("other");
        let mut data = BTreeMap::new();
        data.insert("tls.crt".to_owned(), ByteString(other.chain().into_bytes()));
        data.insert("tls.key".to_owned(), ByteString(other.key().into_bytes()));
        for _ in 0..10 {
            assert!(theirs.signed(&stand.get(Some(&token), None).await.unwrap()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Mended, in the form of kubernetes.io/tls.
        data.insert("ca.crt".to_owned(), ByteString(other.root().into_bytes()));
        space.bring(&space.namespace, &data).await;
        eventually("the other authority signs", async || {
            let identity = stand.get(Some(&token), None).await?;
            if other.signed(&identity) { Ok(()) } else { anyhow::bail!("another one signs") }
        })
        .await;
        // Taken away: ours signs again, and all are trusted.
        space.api::<Secret>().delete(BROUGHT, &DeleteParams::default()).await.unwrap();
        let identity = eventually("ours signs again", async || {
            let identity = stand.get(Some(&token), None).await?;
            if identity.certified.cert.len() == 1 { Ok(identity) } else { anyhow::bail!("another one signs") }
        })
        .await;
        assert_eq!(identity.roots.certificates().count(), 3);
    });
}

/// The certificate of one with the roots of the other: as it is after a renewal that brought the same certificate.
fn ours_with(ours: &Identity, newer: &Identity) -> Identity {
    Identity {
        id: ours.id.clone(),
        certified: ours.certified.clone(),
        roots: newer.roots.clone(),
        not_before: ours.not_before,
        not_after: ours.not_after,
    }
}

#[test]
fn the_configuration_of_the_mesh_names_the_trust_domain() {
    shared(async |space| {
        let stand = Stand::start(&space, 0).await;
        account(&space, "cart").await;
        let token = token(&space, "cart", "istio-ca").await;
        let before = stand.get(Some(&token), None).await.unwrap();
        assert_eq!(before.id.trust_domain(), "cluster.local");
        space
            .apply(
                r"
apiVersion: v1
kind: ConfigMap
metadata: {name: istio}
data:
  mesh: |
    accessLogFile: /dev/stdout
    trustDomain: shop.example
    trustDomainAliases: [cluster.local]
",
            )
            .await;
        eventually("the trust domain is the new one", async || {
            let identity = stand.get(Some(&token), None).await?;
            match identity.id.trust_domain() {
                "shop.example" => Ok(()),
                other => anyhow::bail!("{other}"),
            }
        })
        .await;
        // A certificate of before renews itself into the new one: its trust domain is an alias.
        let renewed = stand.get(None, Some(&before)).await.unwrap();
        assert_eq!(renewed.id.trust_domain(), "shop.example");
    });
}

#[test]
fn each_namespace_has_the_roots_and_who_edits_them_by_hand_finds_them_mended() {
    own(async |space| {
        space.make_namespace("late").await.unwrap();
        let stand = Stand::start(&space, 0).await;
        let (is_leader, leads) = watch::channel(false);
        stand.distribute(&space, leads);
        let configs = |namespace: &str| Api::<ConfigMap>::namespaced(space.client.clone(), namespace);
        let bundle = stand.bundle().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(configs("late").get_opt(CONFIG_MAP).await.unwrap().is_none(), "only who leads writes");
        is_leader.send_replace(true);
        let right = async |namespace: &str, bundle: &str| {
            eventually(&format!("the roots in {namespace}"), async || {
                let config = configs(namespace).get(CONFIG_MAP).await?;
                let data = config.data.clone().unwrap_or_default();
                let fits = data.get("root-cert.pem").is_some_and(|it| it == bundle)
                    && data.get("controller.pem").is_some_and(|it| *it == stand.ca());
                if fits { anyhow::Ok(()) } else { anyhow::bail!("{config:?}") }
            })
            .await;
        };
        for namespace in ["default", "kube-system", "late", &space.namespace] {
            right(namespace, &bundle).await;
        }
        space.make_namespace("later").await.unwrap();
        right("later", &bundle).await;
        // Edited, emptied, deleted.
        let patch = json!({"data": {"root-cert.pem": "somebody else's"}});
        configs("late").patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        right("late", &bundle).await;
        let patch = json!({"data": null});
        configs("late").patch(CONFIG_MAP, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        right("late", &bundle).await;
        configs("late").delete(CONFIG_MAP, &DeleteParams::default()).await.unwrap();
        right("late", &bundle).await;
        // Another root.
        let theirs = Authority::new("theirs");
        space.bring(&space.namespace, &theirs.secret(&[&theirs])).await;
        let both = eventually("both roots", async || match stand.bundle().await {
            it if it == bundle => Err("one root"),
            it => Ok(it),
        })
        .await;
        assert!(both.contains(theirs.root().trim()) && both.contains(bundle.trim()));
        for namespace in ["default", "later"] {
            right(namespace, &both).await;
        }
        for namespace in ["kube-public", "kube-node-lease"] {
            assert!(configs(namespace).get_opt(CONFIG_MAP).await.unwrap().is_none(), "{namespace}");
        }
    });
}

/// Two workloads with real clients, and a user who replaces the authority in one step. Each handshake must go well, also
/// while one has a certificate of the new authority and the other does not.
#[test]
fn a_root_is_replaced_while_workloads_speak_and_no_handshake_fails() {
    shared(async |space| {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        space.bring(&space.namespace, &old.secret(&[&old])).await;
        let stand = Stand::start(&space, 12).await;
        let mut receivers = Vec::new();
        for name in ["cart", "web"] {
            account(&space, name).await;
            receivers.push(stand.client(&space, name, Duration::from_secs(8), None).await);
        }
        for receiver in &mut receivers {
            tokio::time::timeout(Duration::from_secs(30), receiver.wait_for(Option::is_some))
                .await
                .expect("an identity in time")
                .unwrap();
        }
        let current = || {
            let identity = |at: usize| receivers[at].borrow().clone().unwrap();
            (identity(0), identity(1))
        };
        let mut seen = BTreeSet::new();
        let mut count = 0_u32;
        let mut replaced = false;
        eventually("both have certificates of the new authority", async || {
            for _ in 0..20 {
                let (cart, web) = current();
                for (server, client) in [(&cart, &web), (&web, &cart)] {
                    let peer = shake(server, client).await.unwrap_or_else(|error| {
                        panic!("after {count} handshakes: {error}; {server:?} {client:?}")
                    });
                    assert_eq!(peer, client.id);
                    count += 1;
                    seen.insert((new.signed(server), new.signed(client)));
                }
            }
            if !replaced && count > 200 {
                space.bring(&space.namespace, &new.secret(&[&new])).await;
                replaced = true;
            }
            let (cart, web) = current();
            match new.signed(&cart) && new.signed(&web) {
                true => Ok(()),
                false => Err(format!("{count} handshakes, new: {seen:?}")),
            }
        })
        .await;
        println!("{count} handshakes, 0 failed; signed by the new authority (server, client): {seen:?}");
        assert!(count > 1000, "{count}");
        assert!(seen.contains(&(false, false)));
        // The old root is still in the bundle, for those who come late.
        let (cart, _) = current();
        assert_eq!(cart.roots.certificates().count(), 2);
    });
}

#[test]
fn new_roots_reach_a_workload_long_before_its_certificate_is_renewed_and_sign_later_still() {
    shared(async |space| {
        let stand = Stand::start(&space, 600).await;
        account(&space, "cart").await;
        let day = Duration::from_secs(86_400);
        let roots_file = Some(stand.mount_roots().await);
        let mut receiver = stand.client(&space, "cart", day, roots_file).await;
        let mut until = async |count: usize| {
            let has = |it: &Option<Arc<Identity>>| {
                it.as_ref().is_some_and(|it| it.roots.certificates().count() == count)
            };
            let identity = tokio::time::timeout(Duration::from_secs(60), receiver.wait_for(has)).await;
            identity.expect("the roots in time").unwrap().clone().unwrap()
        };
        let before = until(1).await;
        let (bundle, theirs) = (stand.bundle().await, Authority::new("theirs"));
        space.bring(&space.namespace, &theirs.secret(&[&theirs])).await;
        eventually("both roots", async || if stand.bundle().await == bundle { Err("one") } else { Ok(()) })
            .await;
        stand.mount_roots().await;
        let after = until(2).await;
        assert!(!theirs.signed(&after), "not everybody knows the new root yet");
        shake(&before, &after).await.unwrap();
        shake(&after, &before).await.unwrap();
    });
}

/// One handshake over memory; who the server has seen.
async fn shake(server: &Identity, client: &Identity) -> Result<sluice_ir::SpiffeId, String> {
    let accepting = server.server_config(&["cluster.local".to_owned()], &[b"istio"]).unwrap();
    let connecting = client.client_config(Arc::from([server.id.clone()]), &[b"istio"]).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("cart.shop.svc.cluster.local").unwrap();
    let (connected, accepted) = tokio::join!(
        TlsConnector::from(Arc::new(connecting)).connect(name, near),
        TlsAcceptor::from(Arc::new(accepting)).accept(far)
    );
    connected.map_err(|error| format!("client: {error}"))?;
    let accepted = accepted.map_err(|error| format!("server: {error}"))?;
    peer_id(accepted.get_ref().1.peer_certificates()).ok_or_else(|| "no peer".to_owned())
}

//! `openssl s_client` and `openssl ocsp`: which certificate a client gets by what it can verify, and staples.

use super::{run, text, tls_manifests};
use sluice_tests::tls::Authority;
use sluice_tests::{Sluice, Stand, eventually, loopback};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What `s_client` tells of a handshake.
async fn s_client(address: SocketAddr, more: &[&str]) -> String {
    let address = address.to_string();
    let mut arguments = vec!["s_client", "-connect", address.as_str(), "-servername", "a.example.com"];
    arguments.extend_from_slice(more);
    let shell = format!("openssl {} </dev/null 2>&1", arguments.join(" "));
    String::from_utf8_lossy(&run("sh", &["-c", &shell]).await).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_the_certificate_that_it_can_verify() {
    let authority = Authority::new();
    let [ecdsa, rsa] = [authority.issue(&["*.example.com"]), authority.issue_rsa(&["*.example.com"])];
    let listener = "  - {name: https, port: 443, protocol: HTTPS, hostname: '*.example.com', tls: {certificateRefs: [{name: web}, {name: old}]}}\n";
    let manifests = tls_manifests(&[ecdsa.secret("web"), rsa.secret("old")].concat());
    let at = manifests.find("  - name: https").unwrap();
    let end = at + manifests[at..].find("---").unwrap();
    let stand = Stand::start(&[&manifests[..at], listener, &manifests[end..]].concat()).await;
    let address = stand.address(443);
    for version in ["-tls1_2", "-tls1_3"] {
        let both = s_client(address, &[version]).await;
        assert!(both.contains("Peer signature type: ECDSA"), "{version}: {both}");
        let old = s_client(address, &[version, "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"]).await;
        assert!(old.contains("Peer signature type: RSA-PSS"), "{version}: {old}");
    }
}

/// RFC 7633, RFC 6066 §8: the authority's response comes with the certificate that asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_must_be_stapled_is_stapled() {
    let responder = Responder::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), tls_manifests(&responder.secret())).unwrap();
    let gateway = Sluice::run(folder.path(), &[]).await;
    let address = gateway.address(443);
    eventually("the certificate is stapled", || async {
        let told = s_client(address, &["-status"]).await;
        told.contains("OCSP Response Status: successful") && told.contains("Cert Status: good")
    })
    .await;
    let authority = responder.folder.path().join("ca.crt");
    let told = s_client(address, &["-status", "-verify_return_error", "-CAfile", text(&authority)]).await;
    assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
    assert!(gateway.said().contains("an OCSP response is stapled"), "{}", gateway.said());
}

/// One that the responder has nothing good to say of is served without, and whoever runs it is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_response_the_certificate_is_served_all_the_same() {
    let revoked = "R\t491231235959Z\t251201000000Z\t5A17\tunknown\t/CN=a.example.com\n";
    for (index, why, next_step) in [
        ("", "the responder does not know the certificate", "ask the authority about it"),
        (revoked, "the certificate is revoked", "replace the certificate"),
    ] {
        let responder = Responder::start().await;
        std::fs::write(responder.folder.path().join("index"), index).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("all.yaml"), tls_manifests(&responder.secret())).unwrap();
        let gateway = Sluice::run(folder.path(), &[]).await;
        let said = |line: &str| {
            line.contains("Secret default/web goes out without an OCSP response") && line.contains(why)
        };
        eventually("a line says why", || async { gateway.said().lines().any(said) }).await;
        assert!(gateway.said().contains(next_step), "{}", gateway.said());
        let told = s_client(gateway.address(443), &["-status"]).await;
        assert!(told.contains("OCSP response: no response sent"), "{told}");
        assert!(told.contains("subject=CN = a.example.com"), "{told}");
    }
}

/// What no responder could help is found before anything runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_can_not_be_stapled_is_found_by_check() {
    let responder = Responder::start().await;
    let read = |name: &str| std::fs::read_to_string(responder.folder.path().join(name)).unwrap();
    let alone = sluice_tests::tls::Issued { certificate: read("tls.crt"), key: read("tls.key") };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), tls_manifests(&alone.secret("web"))).unwrap();
    let told = run(text(&sluice_tests::binary()), &["check", text(folder.path())]).await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("sluice.dev/OCSPStapled=False (NoIssuer)"), "{told}");
    assert!(
        told.contains("tls.crt lacks its issuer; put the certificate of the issuer behind the leaf"),
        "{told}"
    );
}

/// An authority of openssl with one certificate, and its responder on loopback.
struct Responder {
    folder: Arc<TempDir>,
    _stop: DropGuard,
}

impl Responder {
    async fn start() -> Self {
        let listener = TcpListener::bind((loopback(), 0)).await.unwrap();
        let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
        let folder = Arc::new(tempfile::tempdir().unwrap());
        make(folder.path(), &url).await;
        let (stop, of_listener) = (CancellationToken::new(), folder.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, of_listener.clone()));
            }
        }));
        Self { folder, _stop: stop.drop_guard() }
    }

    fn secret(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let certificate = read("tls.crt") + &read("ca.crt");
        sluice_tests::tls::Issued { certificate, key: read("tls.key") }.secret("web")
    }
}

/// An authority, a certificate of it that must be stapled, and the list of what it has issued.
async fn make(folder: &Path, url: &str) {
    let script = format!(
        "set -e; cd '{}'
         key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc'
         openssl req -x509 $key -days 2 -subj /CN=authority -addext basicConstraints=critical,CA:TRUE \
           -addext keyUsage=critical,keyCertSign,digitalSignature -keyout ca.key -out ca.crt
         openssl req $key -subj /CN=a.example.com -keyout tls.key -out request
         printf '%s\\n' subjectAltName=DNS:a.example.com tlsfeature=status_request 'authorityInfoAccess=OCSP;URI:{url}' > extensions
         openssl x509 -req -in request -CA ca.crt -CAkey ca.key -days 1 -set_serial 0x5A17 -extfile extensions -out tls.crt
         printf 'V\\t491231235959Z\\t\\t5A17\\tunknown\\t/CN=a.example.com\\n' > index",
        folder.display()
    );
    run("sh", &["-c", &script]).await;
}

/// One HTTP exchange; openssl makes the response.
async fn answer(mut stream: TcpStream, folder: Arc<TempDir>) {
    let mut bytes = Vec::new();
    let body = loop {
        if stream.read_buf(&mut bytes).await.is_ok_and(|read| read == 0) {
            return;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        assert!(head.starts_with("post /ocsp ") && head.contains("application/ocsp-request"), "{head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if length.is_some_and(|length| bytes.len() >= end + 4 + length) {
            break bytes[end + 4..].to_vec();
        }
    };
    let path = folder.path();
    std::fs::write(path.join("asked"), body).unwrap();
    let script = format!(
        "cd '{}' && openssl ocsp -index index -CA ca.crt -rsigner ca.crt -rkey ca.key -ndays 1 -reqin asked -respout told",
        path.display()
    );
    run("sh", &["-c", &script]).await;
    let told = std::fs::read(path.join("told")).unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        told.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &told].concat()).await;
}

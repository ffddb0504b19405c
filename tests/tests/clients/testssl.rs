//! testssl.sh against the defaults: it may find nothing above "low".

use super::{text, tls_manifests};
use rcgen::{
    CertificateParams, CrlDistributionPoint, ExtendedKeyUsagePurpose, KeyUsagePurpose, SerialNumber,
};
use serde::Deserialize;
use sluice_tests::Stand;
use sluice_tests::tls::Authority;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::process::Command;

/// Protocols, ciphers, forward secrecy, preferences, the server's defaults, and known attacks.
const CHECKS: [&str; 6] = ["-p", "-s", "-f", "-P", "-S", "-U"];
/// It takes 40 s on an idle machine.
const DEADLINE: Duration = Duration::from_secs(400);

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// A certificate as a public authority would issue it, so that only the gateway is judged.
fn usual() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - Duration::from_secs(86_400));
    params.not_after = params.not_before + Duration::from_secs(90 * 86_400);
    params.serial_number = Some(SerialNumber::from(vec![0x5a; 16]));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec!["http://127.0.0.1/authority.crl".to_owned()] }];
    params
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testssl_finds_nothing_above_low() {
    let authority = Authority::new();
    let stand = Stand::start(&tls_manifests(&authority.sign(usual()).secret("web"))).await;
    let folder = tempfile::tempdir().unwrap();
    let (found, bundle) = (folder.path().join("found.json"), folder.path().join("ca.pem"));
    std::fs::write(&bundle, authority.pem()).unwrap();
    let address = stand.address(443);
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]);
    command.args(["--ip", &address.ip().to_string(), "--jsonfile", text(&found), "--add-ca", text(&bundle)]);
    command.args(CHECKS).arg(format!("a.example.com:{}", address.port()));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends in time");
    let output = output.unwrap_or_else(|error| panic!("testssl: {error}; tests/run installs it"));
    let said = String::from_utf8_lossy(&output.stdout);
    let findings = std::fs::read_to_string(&found).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: Vec<Finding> = serde_json::from_str(&findings).unwrap();
    let judged = |severity: &str| findings.iter().filter(|it| it.severity == severity).collect::<Vec<_>>();
    assert!(judged("OK").len() > 20, "{said}");
    for severity in ["MEDIUM", "HIGH", "CRITICAL"] {
        let bad = judged(severity);
        assert!(bad.is_empty(), "{severity}: {bad:?}\n{said}");
    }
    assert!(findings.iter().any(|it| it.id == "TLS1_3" && it.finding.contains("offered")), "{said}");
}

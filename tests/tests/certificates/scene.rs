//! An authority, its DNS, and a folder of manifests with an issuer.

use base64::Engine as _;
use rustls_pki_types::CertificateDer;
use sluice_tests::acme::{KEY_NAME, Named, Pebble, PebbleOptions};
use sluice_tests::{DEADLINE, PORT_OFFSET, Sluice, binary, eventually, loopback, tls};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Everything but the gateway.
pub(crate) struct Scene {
    pub(crate) pebble: Pebble,
    named: Named,
    bind: IpAddr,
    manifests: TempDir,
    state: TempDir,
}

impl Scene {
    /// One Gateway with these listeners, one issuer with these solvers.
    pub(crate) async fn start(options: PebbleOptions, solvers: &str, listeners: &str) -> Self {
        let bind = loopback();
        let named = Named::start(bind, "").await;
        let options = PebbleOptions { http_port: 80 + PORT_OFFSET, tls_port: 443 + PORT_OFFSET, ..options };
        let pebble = Pebble::start(named.address(), &options).await;
        let scene = Self {
            pebble,
            named,
            bind,
            manifests: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        std::fs::write(scene.manifests.path().join("all.yaml"), scene.yaml(solvers, listeners)).unwrap();
        scene
    }

    fn yaml(&self, solvers: &str, listeners: &str) -> String {
        let solvers =
            solvers.replace("DNS\"", &format!("{}\"", self.named.address())).replace("KEY_NAME", KEY_NAME);
        let authorities: String = self.pebble.authorities().lines().map(|it| format!("    {it}\n")).collect();
        let key = base64::engine::general_purpose::STANDARD.encode(self.named.key());
        format!(
            "apiVersion: sluice.dev/v1alpha1
kind: CertificateIssuer
metadata: {{name: pebble}}
spec:
  directory: {directory}
  contacts: [ops@example.test]
  caBundle: |
{authorities}  resolvers: [\"{dns}\"]
  preflight: {{httpPort: {http}, tlsPort: {tls}, dnsPort: {dns_port}}}
  solvers:{solvers}---
apiVersion: v1
kind: Secret
metadata: {{name: tsig}}
stringData: {{tsig-key: {key}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: web, annotations: {{sluice.dev/certificate-issuer: pebble}}}}
spec:
  gatewayClassName: sluice
  listeners:{listeners}",
            directory = self.pebble.directory(),
            dns = self.named.address(),
            http = 80 + PORT_OFFSET,
            tls = 443 + PORT_OFFSET,
            dns_port = self.named.address().port(),
        )
    }

    /// The gateway, always at the same address.
    pub(crate) fn run(&self) -> Sluice {
        let state = self.state.path().to_str().unwrap();
        Sluice::spawn(self.bind, self.manifests.path(), &["--state", state])
    }

    /// Waits until the host is served with a certificate of these names.
    pub(crate) async fn served(&self, sluice: &Sluice, host: &str, wanted: &[&str]) {
        for _ in 0..3 {
            if self.is_served(sluice, host, wanted).await {
                return;
            }
        }
        panic!("{host} is not served: {}\n{}", self.certificates(false), sluice.said());
    }

    /// Within 20 seconds.
    async fn is_served(&self, sluice: &Sluice, host: &str, wanted: &[&str]) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < DEADLINE {
            let shaken = tls::connect(sluice.address(443), host, tls::trusting(&["http/1.1"])).await;
            if let Ok(stream) = shaken {
                let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                assert_eq!(names(&leaf), wanted);
                return true;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        false
    }

    /// What `sluice certificates` shows.
    pub(crate) fn certificates(&self, is_complete: bool) -> String {
        let mut command = Command::new(binary());
        let done = command.arg("certificates").arg("--state").arg(self.state.path()).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(!is_complete || done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
        text
    }

    /// Folders 0700, files 0600.
    pub(crate) fn nobody_else_reads_the_state(&self) {
        fn look(path: &Path) {
            for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                let wanted = if entry.path().is_dir() { 0o700 } else { 0o600 };
                assert_eq!(mode, wanted, "{}", entry.path().display());
                if entry.path().is_dir() {
                    look(&entry.path());
                }
            }
        }
        look(self.state.path());
    }
}

/// Serial of the certificate that a host is served with.
pub(crate) async fn serial(sluice: &Sluice, host: &str) -> Option<String> {
    let found = std::sync::Mutex::new(None);
    eventually("a handshake", || async {
        let shaken = tls::connect(sluice.address(443), host, tls::trusting(&[])).await;
        let Ok(stream) = shaken else { return false };
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        *found.lock().unwrap() = Some(serial_of(&leaf));
        true
    })
    .await;
    found.into_inner().unwrap()
}

pub(crate) fn serial_of(leaf: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(leaf).unwrap().1.raw_serial_as_string()
}

pub(crate) fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let dns = names.iter().filter_map(|it| match it {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

//! The ACME test server. Its Debian version (2.4.0) has no renewal information, no profiles and no limits: [`super::Front`]
//! adds what tests need of them.

use super::{Program, write};
use crate::pki::{Pki, Wish};
use crate::places::loopback;
use crate::wait::eventually;
use rustls_pki_types::PrivateKeyDer;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

const PORT: u16 = 14_000;
const MANAGEMENT_PORT: u16 = 15_000;

/// Key identifier and key (base64url) of an external account, where one is asked for.
pub const ACCOUNT_KEY: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// How it behaves.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// Where it answers; none: at an address of loopback that nobody else has.
    pub ip: Option<IpAddr>,
    /// Where challenges are looked for.
    pub http_port: u16,
    /// Where challenges are looked for.
    pub tls_port: u16,
    /// Life of certificates.
    pub validity: Duration,
    /// Whether accounts need [`ACCOUNT_KEY`].
    pub needs_account_key: bool,
    /// Good nonces that are refused, in percent.
    pub refused_nonces: u32,
    /// Proven names that need no second proof, in percent.
    pub reused_authorizations: u32,
    /// Longest random pause before it looks at a challenge; none looks at once.
    pub slow_look: Option<Duration>,
    /// Names (and all below) that it refuses.
    pub refused_domain: Option<String>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            ip: None,
            http_port: super::HTTP_PORT,
            tls_port: super::TLS_PORT,
            validity: Duration::from_secs(90 * 24 * 3600),
            needs_account_key: false,
            refused_nonces: 5,
            reused_authorizations: 0,
            slow_look: None,
            refused_domain: None,
        }
    }
}

/// The server.
pub struct Pebble {
    program: Program,
    ip: IpAddr,
    _folder: TempDir,
}

impl Pebble {
    /// Starts it with a DNS server to ask.
    pub async fn start(dns: SocketAddr, options: &PebbleOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ip = options.ip.unwrap_or_else(loopback);
        let wish = Wish { signed_by: "first".to_owned(), names: vec![ip.to_string()], uris: Vec::new() };
        let (chain, key) = wish.issue();
        let certificate = write(folder.path(), "cert.pem", &pem("CERTIFICATE", &chain[0]));
        let PrivateKeyDer::Pkcs8(key) = key else { panic!("a PKCS#8 key") };
        let key = write(folder.path(), "key.pem", &pem("PRIVATE KEY", key.secret_pkcs8_der()));
        let mut configuration = serde_json::json!({
            "listenAddress": format!("{ip}:{PORT}"),
            "managementListenAddress": format!("{ip}:{MANAGEMENT_PORT}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "certificateValidityPeriod": options.validity.as_secs(),
            "externalAccountBindingRequired": options.needs_account_key,
        });
        if options.needs_account_key {
            configuration["externalAccountMACKeys"] = serde_json::json!({ ACCOUNT_KEY.0: ACCOUNT_KEY.1 });
        }
        if let Some(domain) = &options.refused_domain {
            configuration["domainBlocklist"] = serde_json::json!([domain]);
        }
        let configuration = serde_json::json!({ "pebble": configuration }).to_string();
        let configuration = write(folder.path(), "pebble.json", &configuration);
        let mut command = Command::new("pebble");
        command.args(["-config", &configuration, "-strict=false", "-dnsserver", &dns.to_string()]);
        command.env("PEBBLE_WFE_NONCEREJECT", options.refused_nonces.to_string());
        command.env("PEBBLE_AUTHZREUSE", options.reused_authorizations.to_string());
        command.env("PEBBLE_VA_ALWAYS_VALID", "0");
        match options.slow_look {
            Some(pause) => command.env("PEBBLE_VA_SLEEPTIME", pause.as_secs().to_string()),
            None => command.env("PEBBLE_VA_NOSLEEP", "1"),
        };
        let program = Program::start(command, "pebble");
        let pebble = Self { program, ip, _folder: folder };
        eventually("pebble answers", || async { TcpStream::connect(pebble.address()).await.is_ok() }).await;
        pebble
    }

    /// Where it answers, by HTTPS.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, PORT)
    }

    /// URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address())
    }

    /// PEM of the authority that its own certificate is of.
    pub fn authorities(&self) -> String {
        Pki::named("first").pem().to_owned()
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// How many orders it has been asked for.
    pub fn orders(&self) -> usize {
        self.count("Added order")
    }

    /// How many certificates it has issued.
    pub fn issued(&self) -> usize {
        self.count("Issued certificate serial")
    }

    /// How many accounts it has.
    pub fn accounts(&self) -> usize {
        let said = self.said();
        let mut counts = said.lines().filter_map(|line| line.split("There are now ").nth(1));
        let last = counts.rfind(|it| it.contains("accounts"));
        last.and_then(|it| it.split(' ').next()).map_or(0, |it| it.parse().expect("a number"))
    }

    fn count(&self, what: &str) -> usize {
        self.said().matches(what).count()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|it| std::str::from_utf8(it).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

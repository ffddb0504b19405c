//! A real DNS server (bind9) with one zone that takes updates signed with TSIG.

use super::{Program, write};
use crate::wait::eventually;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

/// The zone.
pub const ZONE: &str = "example.test";
/// Name of the key that may update it.
pub const KEY_NAME: &str = "acme-key";

/// The key, base64, as `named.conf` wants it.
const KEY: &str = "c2x1aWNlLXRlc3RzLXVwZGF0ZS1rZXktMzItYnl0ZXM=";
/// The key, decoded.
const KEY_BYTES: &[u8] = b"sluice-tests-update-key-32-bytes";

/// The server. Every name of the zone that is not listed leads to one address.
pub struct Named {
    program: Program,
    address: SocketAddr,
    _folder: TempDir,
}

impl Named {
    /// Starts it. `*.example.test` leads to `target`; `records` are further lines of the zone.
    pub async fn start(target: IpAddr, records: &str) -> Self {
        // named looks for the addresses of interfaces, and of 127.0.0.0/8 there is one.
        Self::at(IpAddr::V4(Ipv4Addr::LOCALHOST), target, records).await
    }

    /// The same, answering at an address of an interface.
    pub async fn at(ip: IpAddr, target: IpAddr, records: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let zone = format!(
            "$TTL 1\n@ IN SOA ns hostmaster 1 60 60 60 1\n@ IN NS ns\nns IN A {ip}\n* IN A {target}\n\
             @ IN A {target}\n{records}\n"
        );
        let zone = write(folder.path(), "zone", &zone);
        let dir = folder.path().display();
        let configuration = format!(
            "key {KEY_NAME} {{ algorithm hmac-sha256; secret \"{KEY}\"; }};\ncontrols {{ }};\noptions {{\n\
             directory \"{dir}\"; pid-file \"{dir}/pid\"; session-keyfile \"{dir}/session\"; lock-file none;\n\
             managed-keys-directory \"{dir}\"; listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};\n\
             recursion no; dnssec-validation no; notify no; minimal-responses no;\n}};\n\
             zone \"{ZONE}\" {{ type primary; file \"{zone}\"; allow-update {{ key {KEY_NAME}; }}; }};\n"
        );
        let configuration = write(folder.path(), "named.conf", &configuration);
        let mut command = Command::new("/usr/sbin/named");
        command.args(["-g", "-n", "1", "-c", &configuration]);
        let program = Program::start(command, "bind9");
        let address = SocketAddr::new(ip, port);
        eventually("named answers", || async { TcpStream::connect(address).await.is_ok() }).await;
        Self { program, address, _folder: folder }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that may update the zone.
    pub fn key(&self) -> &'static [u8] {
        KEY_BYTES
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// Changes records by `nsupdate`, in its language: `update add a.example.test 1 A 127.0.0.1`.
    pub async fn update(&self, lines: &str) {
        let (ip, port) = (self.address.ip(), self.address.port());
        let script = format!("server {ip} {port}\nzone {ZONE}\n{lines}\nsend\n");
        let folder = tempfile::tempdir().expect("a folder");
        let script = write(folder.path(), "script", &script);
        let key = format!("hmac-sha256:{KEY_NAME}:{KEY}");
        let done =
            Command::new("nsupdate").args(["-y", &key, &script]).output().await.expect("nsupdate starts");
        assert!(done.status.success(), "nsupdate: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Values of the TXT records at a name.
    pub async fn texts(&self, name: &str) -> Vec<String> {
        let (ip, port) = (self.address.ip(), self.address.port());
        let server = [format!("@{ip}"), "-p".to_owned(), port.to_string()];
        let arguments = ["+short", "+tcp", name, "TXT"];
        let done = Command::new("dig").args(server).args(arguments).output().await.expect("dig starts");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        text.lines().map(|line| line.trim_matches('"').to_owned()).collect()
    }
}

/// A port that nobody has, by TCP and UDP. Between here and the server's start somebody could take it; then the server
/// says so.
fn free_port() -> u16 {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
    panic!("no port is free by TCP and UDP");
}

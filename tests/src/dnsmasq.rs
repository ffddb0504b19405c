//! A real DNS server (dnsmasq) whose answers change, and a network in which it is the system's.

use nix::sched::{CloneFlags, unshare};
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::wait::eventually;

/// Where the servers answer: the system's, and the one that it asks for names below [`ZONE`].
const SERVER: &str = "127.0.0.1";
const OF_ZONE: &str = "127.0.0.2";
/// A zone of its own, whose server says how long a name is absent.
pub const ZONE: &str = "zone.test";

/// Runs a test in a network and with an `/etc/resolv.conf` of its own, in which this address is the machine's too.
/// Needs root, of the machine or of a user namespace.
pub fn in_own_network<F: Future>(address: IpAddr, test: impl FnOnce() -> F + Send + 'static)
where
    F::Output: Send,
{
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("a network needs root; as another user run `unshare -r cargo test ...`");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, format!("nameserver {SERVER}\noptions timeout:1 attempts:2\n"))
            .expect("a file");
        let script = "mount --make-rprivate / && mount --bind \"$0\" /etc/resolv.conf && ip link set lo up && \
                      ip addr add 127.0.0.2/8 dev lo && ip addr add \"$1\" dev lo";
        let mut setting = std::process::Command::new("/bin/sh");
        setting.args(["-c", script]).arg(&file).arg(address.to_string());
        assert!(setting.status().expect("a shell").success(), "the network can't be set up");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The server. Killed when dropped.
pub struct Dnsmasq {
    child: Child,
    _of_zone: Child,
    hosts: TempDir,
    said: Arc<Mutex<String>>,
}

impl Dnsmasq {
    /// Starts it; answers are good for so long, and so is it that a name of [`ZONE`] is absent.
    pub async fn start(ttl_s: u32) -> Self {
        let hosts = tempfile::tempdir().expect("a folder");
        std::fs::write(hosts.path().join("hosts"), "").expect("a file");
        let said = Arc::new(Mutex::new(String::new()));
        let ttl = format!("--local-ttl={ttl_s}");
        let file = format!("--addn-hosts={}", hosts.path().join("hosts").display());
        let zone = format!("--server=/{ZONE}/{OF_ZONE}");
        let listen = format!("--listen-address={SERVER}");
        let mut child =
            start(&[&listen, &ttl, &file, &zone, "--local=/test/", "--log-queries", "--log-facility=-"]);
        let stderr = child.stderr.take().expect("a pipe");
        let log = said.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (listen, ttl) = (format!("--listen-address={OF_ZONE}"), format!("--auth-ttl={ttl_s}"));
        let (server, zone) = (format!("--auth-server=ns.{ZONE},{OF_ZONE}"), format!("--auth-zone={ZONE}"));
        let of_zone = start(&[&listen, &ttl, &server, &zone]);
        for server in [SERVER, OF_ZONE] {
            eventually("dnsmasq answers", || async { TcpStream::connect((server, 53)).await.is_ok() }).await;
        }
        Self { child, _of_zone: of_zone, hosts, said }
    }

    /// From now on the names have these addresses and no others: lines of a hosts file.
    pub async fn set(&self, hosts: &str) {
        std::fs::write(self.hosts.path().join("hosts"), hosts).expect("a file");
        let before = self.count("read ");
        let id = self.child.id().expect("a running server").to_string();
        let sent = Command::new("sh").args(["-c", "kill -s HUP \"$0\"", &id]).status().await;
        assert!(sent.is_ok_and(|it| it.success()));
        eventually("dnsmasq read its hosts", || async { self.count("read ") > before }).await;
    }

    /// How often it was asked for the addresses of a name: of IPv4, of IPv6.
    pub fn asked(&self, name: &str) -> (usize, usize) {
        (self.count(&format!("query[A] {name} ")), self.count(&format!("query[AAAA] {name} ")))
    }

    fn count(&self, text: &str) -> usize {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).matches(text).count()
    }

    /// Ends it.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a running server");
    }
}

fn start(arguments: &[&str]) -> Child {
    let path = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"].into_iter().find(|it| Path::new(it).exists());
    let mut command = Command::new(path.expect("dnsmasq: install the Debian package dnsmasq-base"));
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
    ]);
    command
        .args(["--port=53", "--user=root", "--group=root", "--pid-file=", "--cache-size=0"])
        .args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().expect("dnsmasq starts")
}

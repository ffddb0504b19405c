//! Names that only clients say, with a real DNS server (dnsmasq) whose answers change, lie and stop: the test runs itself
//! again in a network of its own, where it has addresses of the internet and its own `/etc/resolv.conf`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::{Sluice, eventually, loopback};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

#[test]
fn a_name_server_that_changes_lies_and_stops() {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if is_not_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let test = std::env::current_exe().unwrap();
    let output = command
        .arg(test)
        .args(["--exact", "within_a_network_of_its_own", "--ignored", "--nocapture"])
        .output()
        .expect("unshare of util-linux");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn is_not_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    uids.split_whitespace().nth(1) != Some("0")
}

/// A server that counts who reaches it and answers its own address.
struct Target(Arc<AtomicUsize>);

impl Target {
    async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (reached, name) = (Arc::<AtomicUsize>::default(), address.to_owned());
        let count = reached.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
                    name.len()
                );
                tokio::spawn(async move {
                    let mut seen = [0; 4096];
                    let _ = stream.read(&mut seen).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self(reached)
    }

    fn reached(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// dnsmasq on 127.0.0.1:53, which knows what stands in a hosts file and nothing else.
struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    fn start(folder: &Path, says: &str) -> Self {
        let folder = folder.to_owned();
        std::fs::write(folder.join("hosts"), says).unwrap();
        let hosts = folder.join("hosts");
        let process = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
            ])
            .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--local=/com/", "--local=/org/"])
            .args(["--local-ttl=1", "--log-queries", "--pid-file="])
            .arg(format!("--addn-hosts={}", hosts.display()))
            .arg(format!("--log-facility={}", folder.join("log").display()))
            .stdin(Stdio::null())
            .spawn()
            .expect("dnsmasq (Debian: dnsmasq-base)");
        Self { process, folder }
    }

    /// Says this from now on.
    fn say(&self, hosts: &str) {
        std::fs::write(self.folder.join("hosts"), hosts).unwrap();
        let number = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", "HUP", &number]).status().unwrap().success());
    }

    /// How often it was asked for the IPv4 addresses of a name.
    fn asked(&self, name: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.matches(&format!("query[A] {name} from")).count()
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const MANIFESTS: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: proxy, port: 3128, protocol: sluice.dev/ForwardProxy}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dynamic}
spec:
  hosts: ['*.example.com']
  resolution: DYNAMIC_DNS
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 8000}
  - {number: 5432, name: db, protocol: TCP, targetPort: 8000}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: turn}
spec:
  hosts: [turn.example.org]
  resolution: DNS_ROUND_ROBIN
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8000}]
---
# Clients of this one may go to names that nobody names.
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: open, name: egress}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: proxy, port: 3129, protocol: sluice.dev/ForwardProxy}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {namespace: open, name: any}
spec:
  outboundTrafficPolicy: {mode: ALLOW_ANY}
";

async fn say(proxy: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut back = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut back)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&back).into_owned()
}

/// Status and body of a request for a host.
async fn get(proxy: SocketAddr, host: &str) -> (u16, String) {
    let back =
        say(proxy, format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
    let status = back.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    (status, back.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned())
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above, in a network of its own"]
async fn within_a_network_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    run("ip", &["link", "set", "lo", "up"]);
    for address in ["203.0.113.7/32", "203.0.113.8/32", "10.0.0.66/32"] {
        run("ip", &["address", "add", address, "dev", "lo"]);
    }
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    run("mount", &["--bind", resolv.to_str().unwrap(), "/etc/resolv.conf"]);
    let (seven, eight, inside) = (
        Target::start("203.0.113.7:8000").await,
        Target::start("203.0.113.8:8000").await,
        Target::start("10.0.0.66:8000").await,
    );
    let others = "10.0.0.66 inside.example.com\n203.0.113.7 turn.example.org\n203.0.113.8 turn.example.org\n";
    let mut server = Server::start(folder.path(), &format!("203.0.113.7 one.example.com\n{others}"));
    let manifests = folder.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    std::fs::write(manifests.join("egress.yaml"), MANIFESTS).unwrap();
    let mut sluice = Sluice::spawn(loopback(), &manifests, &[]);
    sluice.ready().await;
    let proxy = sluice.address(3128);

    eventually("the server answers", || async { get(proxy, "one.example.com").await.0 == 200 }).await;
    // Many ask, one question.
    server.say(&format!("203.0.113.7 one.example.com two.example.com\n{others}"));
    eventually("the server knows two", || async { get(proxy, "two.example.com").await.0 == 200 }).await;
    let asked = server.asked("two.example.com");
    let many = (0..50).map(|_| tokio::spawn(get(proxy, "two.example.com")));
    for answer in futures::future::join_all(many.collect::<Vec<_>>()).await {
        assert_eq!(answer.unwrap(), (200, "203.0.113.7:8000".to_owned()));
    }
    let questions = server.asked("two.example.com") - asked;
    assert!(questions <= 2, "{questions} questions for fifty requests within a second or two");
    assert_eq!(eight.reached(), 0);

    // What leads inside is refused and never called, and so is what has no address.
    let (status, said) = get(proxy, "inside.example.com").await;
    assert_eq!((status, inside.reached()), (502, 0), "{said}");
    let (status, said) = get(proxy, "none.example.com").await;
    assert_eq!(status, 502, "{said}");
    let back = say(
        proxy,
        "CONNECT inside.example.com:5432 HTTP/1.1\r\nHost: inside.example.com:5432\r\n\r\n".to_owned(),
    )
    .await;
    assert!(back.starts_with("HTTP/1.1 502 "), "{back}");
    eventually("the log says which is which", || async {
        let said = sluice.said();
        said.contains("leads inside") && said.contains("egress_refused")
    })
    .await;

    // A name that no entry has: only where a Sidecar allows any, with the client's port, and not inside.
    server.say("203.0.113.7 one.example.com\n203.0.113.8 free.example.org\n10.0.0.66 home.example.org\n203.0.113.7 turn.example.org\n203.0.113.8 turn.example.org\n");
    let open = sluice.address(3129);
    eventually("a name of the internet", || async {
        get(open, "free.example.org:8000").await == (200, "203.0.113.8:8000".to_owned())
    })
    .await;
    let connect =
        |host: &str| format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    let back = say(open, connect("free.example.org:8000")).await;
    assert!(back.ends_with("203.0.113.8:8000"), "{back}");
    for (proxy, host) in
        [(proxy, "free.example.org:8000"), (open, "home.example.org:8000"), (open, "203.0.113.7:8000")]
    {
        assert_eq!(get(proxy, host).await.0, 502, "{host}");
        assert!(say(proxy, connect(host)).await.starts_with("HTTP/1.1 502 "), "{host}");
    }
    assert_eq!(inside.reached(), 0);
    eventually("the log, which is off, has who went there", || async {
        sluice.said().matches("route=\"Sidecar open/any\"").count() >= 2
    })
    .await;

    // Of a round-robin name one address is used at a time.
    let first = get(proxy, "turn.example.org").await.1;
    assert!(first.starts_with("203.0.113."), "{first}");

    // The answer changes, and then lies.
    server.say("203.0.113.8 one.example.com\n");
    eventually("the new address", || async { get(proxy, "one.example.com").await.1 == "203.0.113.8:8000" })
        .await;
    server.say("10.0.0.66 one.example.com\n");
    eventually("a name that moved inside is refused", || async {
        get(proxy, "one.example.com").await.0 == 502
    })
    .await;
    server.say("203.0.113.7 one.example.com\n");
    eventually("it is back", || async { get(proxy, "one.example.com").await.0 == 200 }).await;

    // The server is gone: what was known serves on, what is new fails within the patience.
    server.stop();
    let before = seven.reached();
    eventually("the last good address beyond its time", || async {
        get(proxy, "one.example.com").await == (200, "203.0.113.7:8000".to_owned())
            && seven.reached() > before + 3
    })
    .await;
    let (status, said) = get(proxy, "new.example.com").await;
    assert_eq!(status, 502, "{said}");
    assert_eq!(inside.reached(), 0);
}

//! `sluice run` as a process: changes under load, broken files, signals, ports that are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{DEADLINE, LOOPBACK, Program, at, free_offset};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A Gateway on port 80, and a route that sends everything to these ports by weight.
fn manifests(backends: &[(u16, u32)]) -> String {
    let mut text = gateway("web", 80);
    text += "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: all}\n\
             spec:\n  parentRefs: [{name: web}]\n  rules:\n  - backendRefs:\n";
    for (port, weight) in backends {
        text += &format!(
            "    - {{group: networking.istio.io, kind: Hostname, name: b{port}.test, port: 80, weight: {weight}}}\n"
        );
    }
    for (port, _) in backends {
        text += &format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: b{port}}}\nspec:\n  \
             hosts: [b{port}.test]\n  resolution: STATIC\n  ports: [{{name: http, number: 80, protocol: HTTP}}]\n  \
             endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]\n"
        );
    }
    text
}

fn gateway(name: &str, port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  \
         gatewayClassName: sluice\n  listeners:\n  - {{name: http, port: {port}, protocol: HTTP}}\n"
    )
}

fn folder(text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    save(directory.path(), text);
    directory
}

/// As an editor saves: another file takes the name.
fn save(directory: &Path, text: &str) {
    let temporary = directory.join(".new");
    fs::write(&temporary, text).unwrap();
    fs::rename(&temporary, directory.join("all.yaml")).unwrap();
}

/// An echo of its own.
fn echo(name: &str) -> (Program, u16) {
    let echo = Program::echo(&[format!("127.0.0.1:0={name}")]);
    let port = echo.echo_port();
    (echo, port)
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn get(client: &mut SendRequest<Empty<Bytes>>, path: &str) -> Response<Incoming> {
    client.ready().await.unwrap();
    let request = Request::get(path)
        .header("host", "any.test")
        .header("x-echo-count", path.trim_matches('/').split('?').next().unwrap());
    let request = request.body(Empty::new()).unwrap();
    timeout(DEADLINE, client.send_request(request)).await.unwrap().unwrap()
}

/// Status and backend of one request.
async fn ask(client: &mut SendRequest<Empty<Bytes>>, path: &str) -> (u16, String) {
    let response = get(client, path).await;
    let backend = response.headers().get("x-echo-backend").map(|it| it.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    response.collect().await.unwrap();
    (status, backend.unwrap_or_default())
}

#[tokio::test]
async fn a_saved_file_is_live_at_once_on_the_same_connection() {
    let ((_one, one), (_two, two)) = (echo("one"), echo("two"));
    let directory = folder(&manifests(&[(one, 1)]));
    let offset = free_offset(&[(LOOPBACK, 80)]);
    let gateway = Program::run(directory.path(), offset);
    let mut client = connect(at(80, offset)).await;
    assert_eq!(ask(&mut client, "/").await, (200, "one".to_owned()));
    let mut slowest = Duration::ZERO;
    for (port, name) in [(two, "two"), (one, "one"), (two, "two")] {
        save(directory.path(), &manifests(&[(port, 1)]));
        let begin = Instant::now();
        while ask(&mut client, "/").await.1 != name {
            assert!(begin.elapsed() < DEADLINE, "{}", gateway.told());
        }
        slowest = slowest.max(begin.elapsed());
    }
    println!("a saved file was live after at most {slowest:?}");
    // 50 ms is promised; a busy machine that runs all tests at once is given more.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(gateway.told().contains("reloaded"), "{}", gateway.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_fail_no_request() {
    let ((_one, one), (_two, two)) = (echo("one"), echo("two"));
    let directory = folder(&manifests(&[(one, 1), (two, 1)]));
    let offset = free_offset(&[(LOOPBACK, 80)]);
    let gateway = Program::run(directory.path(), offset);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (stop, asked) = (stop.clone(), asked.clone());
        load.spawn(async move {
            let mut client = connect(at(80, offset)).await;
            while !stop.load(Ordering::Relaxed) {
                let (status, backend) = ask(&mut client, "/").await;
                assert_eq!(status, 200, "from {backend:?}");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 0..30_u32 {
        let before = asked.load(Ordering::Relaxed);
        let mut text = manifests(&[(one, round % 3), (two, 1 + round % 2)]);
        if round % 2 == 1 {
            text += &format!("---\n{}", self::gateway("other", 443));
        }
        save(directory.path(), &text);
        let end = Instant::now() + DEADLINE;
        while asked.load(Ordering::Relaxed) < before + 40 {
            assert!(Instant::now() < end && !load.is_empty(), "{}", gateway.told());
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told() {
    let (_one, one) = echo("one");
    let directory = folder(&manifests(&[(one, 1)]));
    let offset = free_offset(&[(LOOPBACK, 80)]);
    let mut gateway = Program::run(directory.path(), offset);
    let mut client = connect(at(80, offset)).await;
    save(directory.path(), "kind: [Gateway\n");
    gateway.wait_for("all.yaml:");
    gateway.wait_for("stays in use until the file is right");
    assert_eq!(ask(&mut client, "/").await, (200, "one".to_owned()));
    fs::remove_file(directory.path().join("all.yaml")).unwrap();
    gateway.wait_for("removed=");
    save(directory.path(), &manifests(&[(one, 1)]));
    let begin = Instant::now();
    loop {
        if let Ok(stream) = TcpStream::connect(at(80, offset)).await {
            drop(stream);
            break;
        }
        assert!(begin.elapsed() < DEADLINE, "{}", gateway.told());
    }
    let mut client = connect(at(80, offset)).await;
    assert_eq!(ask(&mut client, "/").await, (200, "one".to_owned()));
}

#[tokio::test]
async fn sigterm_finishes_open_requests_and_ends_well() {
    let (_one, one) = echo("one");
    let directory = folder(&manifests(&[(one, 1)]));
    let offset = free_offset(&[(LOOPBACK, 80)]);
    let mut gateway = Program::run(directory.path(), offset);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(connect(at(80, offset)).await);
    }
    let mut open = tokio::task::JoinSet::new();
    for mut client in clients {
        open.spawn(async move { ask(&mut client, "/slow?delay=700ms").await });
    }
    // The echo counts a request when it begins; all eight must be on their way.
    let mut direct = connect(SocketAddr::new(LOOPBACK, one)).await;
    let begin = Instant::now();
    while count(&mut direct).await != "8\n" {
        assert!(begin.elapsed() < DEADLINE);
    }
    gateway.signal("TERM");
    gateway.wait_for("draining");
    while let Some(answer) = open.join_next().await {
        assert_eq!(answer.unwrap(), (200, "one".to_owned()));
    }
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.told());
    assert!(TcpStream::connect(at(80, offset)).await.is_err());
}

/// How many slow requests have reached the echo.
async fn count(client: &mut SendRequest<Empty<Bytes>>) -> String {
    let body = get(client, "/count/slow").await.collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_hangup_reads_everything_again() {
    let (_one, one) = echo("one");
    let directory = folder(&manifests(&[(one, 1)]));
    let offset = free_offset(&[(LOOPBACK, 80)]);
    let mut gateway = Program::run(directory.path(), offset);
    gateway.signal("HUP");
    // Nothing changed, so nothing is told; a change that follows is.
    save(directory.path(), &manifests(&[(one, 2)]));
    gateway.wait_for("changed=\"HTTPRoute default/all\"");
    let mut client = connect(at(80, offset)).await;
    assert_eq!(ask(&mut client, "/").await.0, 200);
}

#[test]
fn a_taken_port_is_told_and_no_port_at_all_ends_it() {
    let offset = free_offset(&[(LOOPBACK, 80), (LOOPBACK, 443)]);
    let _taken = TcpListener::bind(at(80, offset)).unwrap();
    let directory = folder(&gateway("web", 80));
    let mut alone = Program::start_gateway(directory.path(), offset);
    assert_eq!(alone.wait().code(), Some(1), "{}", alone.told());
    let directory = folder(&format!("{}---\n{}", gateway("web", 80), gateway("other", 443)));
    let beside = Program::run(directory.path(), offset);
    assert!(
        beside.told().contains("all.yaml:7: Gateway default/web: spec.listeners[0]"),
        "{}",
        beside.told()
    );
}

#[test]
fn a_missing_folder_is_status_2() {
    let mut missing = Program::start_gateway(Path::new("/nowhere/at/all"), 0);
    assert_eq!(missing.wait().code(), Some(2));
    assert!(missing.told().contains("can't read /nowhere/at/all"), "{}", missing.told());
}

#[test]
fn as_many_threads_serve_as_were_asked_for() {
    let directory = folder(&gateway("web", 80));
    let offset = free_offset(&[(LOOPBACK, 80)]).to_string();
    let threads = |count: &str| {
        let folder = directory.path().to_str().unwrap();
        let arguments = ["run", folder, "--port-offset", &offset, "--no-admin", "--threads", count];
        let mut program = Program::start(&arguments);
        program.wait_for("ready after");
        fs::read_dir(format!("/proc/{}/task", program.id())).unwrap().count()
    };
    // Besides those that serve, a few do what blocks.
    assert!(threads("1") < 16);
    assert!(threads("16") > 16);
}

#[test]
fn certificates_of_the_system_are_not_needed() {
    let directory = folder(&gateway("web", 80));
    let broken = directory.path().join("certificates.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let offset = free_offset(&[(LOOPBACK, 80)]).to_string();
    let arguments = ["run", directory.path().to_str().unwrap(), "--port-offset", &offset, "--no-admin"];
    let mut program = Program::start_with(&arguments, &[("SSL_CERT_FILE", broken.to_str().unwrap())]);
    program.wait_for("ready after");
}

//! Limits on open connections.

use crate::support::{Server, get, limits, read_response, read_to_end, until, within};
use sluice_ir::ProxyProtocol;
use std::fs::File;
use std::io::{Read, Seek};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_above_the_ports_limit_is_told_so_and_the_place_comes_back() {
    let server = Server::start(limits(|limits| limits.connections = 1)).await;
    let mut first = server.connect().await;
    first.write_all(get("/first").as_bytes()).await.unwrap();
    read_response(&mut first).await;

    let answer = server.exchange(get("/second")).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("Retry-After: 1\r\n"), "{answer}");
    server.log.wait_for("refused overloaded too many connections").await;

    drop(first);
    server.log.wait_for("closed").await;
    let mut third = server.connect().await;
    third.write_all(get("/third").as_bytes()).await.unwrap();
    assert!(read_response(&mut third).await.contains("GET /third"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_above_the_limit_is_not_waited_for() {
    let server = Server::start(limits(|limits| limits.connections = 0)).await;
    let mut socket = server.connect().await;
    assert!(read_to_end(&mut socket).await.contains("503 Service Unavailable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_its_own_limit_counted_by_the_address_in_the_proxy_header() {
    let mut config = limits(|limits| limits.connections_per_client = 1);
    config.proxy_protocol = ProxyProtocol::Required;
    let server = Server::start(config).await;
    let from = |client: &str| format!("PROXY TCP4 {client} 192.0.2.9 1000 80\r\n{}", get("/"));
    let mut held = server.connect().await;
    held.write_all(from("192.0.2.1").as_bytes()).await.unwrap();
    assert!(read_response(&mut held).await.contains("peer=192.0.2.1:1000"));

    assert!(server.exchange(from("192.0.2.1")).await.contains("503 Service Unavailable"));
    let mut other = server.connect().await;
    other.write_all(from("192.0.2.2").as_bytes()).await.unwrap();
    assert!(read_response(&mut other).await.contains("200 OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_refused_connections_leave_nothing_behind() {
    let server = Server::start(limits(|limits| limits.connections = 2)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(server.connect().await);
    }
    until(|| server.ports.connections() == 2, || server.ports.connections().to_string()).await;
    for _ in 0..300 {
        let mut socket = server.connect().await;
        let mut answer = Vec::new();
        let _ = within(socket.read_to_end(&mut answer)).await;
    }
    assert_eq!(server.ports.connections(), 2);
    drop(held);
    until(|| server.ports.connections() == 0, || server.ports.connections().to_string()).await;
}

/// Runs [`with_few_descriptors`] in a process that may open only 48 files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_accepting_pauses_and_recovers() {
    let output = tokio::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 48 && exec \"$0\" limits::with_few_descriptors --exact --ignored --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .output();
    let output = within(output).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "only in a process with few descriptors: run by without_descriptors_accepting_pauses_and_recovers"]
async fn with_few_descriptors() {
    let server = Server::plain().await;
    let stat = File::open("/proc/self/stat").unwrap();
    let sockets: Vec<_> = (0..12).map(|_| tokio::net::TcpSocket::new_v4().unwrap()).collect();
    // All descriptors but three are taken before the clients connect.
    let mut fillers = Vec::new();
    while let Ok(filler) = stat.try_clone() {
        fillers.push(filler);
    }
    fillers.truncate(fillers.len() - 3);
    let mut held = Vec::new();
    for socket in sockets {
        held.push(within(socket.connect(server.address)).await.unwrap());
    }
    until(|| server.ports.connections() == 3, || server.ports.connections().to_string()).await;
    let before = cpu_ticks(&stat);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.ports.connections(), 3);
    assert!(cpu_ticks(&stat) - before < 25, "accepting spins");

    drop(fillers);
    until(|| server.ports.connections() == held.len(), || server.ports.connections().to_string()).await;
    drop(held);
    let mut socket = server.connect().await;
    socket.write_all(get("/recovered").as_bytes()).await.unwrap();
    assert!(read_response(&mut socket).await.contains("GET /recovered"));
}

/// Processor time of this process in hundredths of a second: fields 14 and 15 of `/proc/self/stat`.
fn cpu_ticks(mut stat: &File) -> u64 {
    let mut text = String::new();
    stat.rewind().unwrap();
    stat.read_to_string(&mut text).unwrap();
    let after_name = text.rsplit(')').next().unwrap();
    after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

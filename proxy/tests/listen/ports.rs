//! Ports come, change and go at run time.

use crate::support::{Echo, Log, Server, WANTED, get, limits, read_response, read_to_end};
use sluice_proxy::listen::{PortConfig, Ports};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_touches_no_open_connection_and_new_ones_use_it() {
    let server = Server::plain().await;
    let mut old = server.connect().await;
    old.write_all(get("/1").as_bytes()).await.unwrap();
    assert!(read_response(&mut old).await.contains("head_bytes=65536"));

    let changed = limits(|limits| limits.request_head_bytes = 2000);
    assert!(server.ports.apply(BTreeMap::from([(WANTED, Arc::new(changed))])).await.is_empty());
    assert_eq!(server.ports.bound(), [(WANTED, server.address)]);

    old.write_all(get("/2").as_bytes()).await.unwrap();
    assert!(read_response(&mut old).await.contains("head_bytes=65536"));
    let mut new = server.connect().await;
    new.write_all(get("/3").as_bytes()).await.unwrap();
    assert!(read_response(&mut new).await.contains("head_bytes=2000"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_bound_and_released_while_others_stay() {
    let server = Server::plain().await;
    let mut kept = server.connect().await;
    kept.write_all(get("/").as_bytes()).await.unwrap();
    read_response(&mut kept).await;

    let second: SocketAddr = "127.0.0.2:0".parse().unwrap();
    let config = Arc::new(PortConfig::default());
    let both = BTreeMap::from([(WANTED, config.clone()), (second, config.clone())]);
    assert!(server.ports.apply(both).await.is_empty());
    let bound: BTreeMap<_, _> = server.ports.bound().into_iter().collect();
    assert_eq!(bound[&WANTED], server.address);

    let mut socket = TcpStream::connect(bound[&second]).await.unwrap();
    socket.write_all(get("/second").as_bytes()).await.unwrap();
    assert!(read_response(&mut socket).await.contains("/second"));

    assert!(server.ports.apply(BTreeMap::from([(WANTED, config)])).await.is_empty());
    assert_eq!(read_to_end(&mut socket).await, "", "an idle connection of a released port is closed");
    // The address is free at once.
    drop(TcpListener::bind(bound[&second]).await.unwrap());
    assert!(TcpStream::connect(bound[&second]).await.is_err());

    kept.write_all(get("/still").as_bytes()).await.unwrap();
    assert!(read_response(&mut kept).await.contains("/still"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_reported_and_tried_again() {
    let taken = std::net::TcpListener::bind(WANTED).unwrap();
    let address = taken.local_addr().unwrap();
    let ports = Ports::new(Echo::new(), Arc::new(Log::default()));
    let wanted = BTreeMap::from([(address, Arc::new(PortConfig::default())), (WANTED, Arc::default())]);
    let failed = ports.apply(wanted.clone()).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, address);
    assert_eq!(failed[0].1.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(ports.bound().len(), 1);
    drop(taken);
    assert!(ports.apply(wanted).await.is_empty());
    assert_eq!(ports.bound().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unspecified_ipv6_address_takes_ipv4_too() {
    let ports = Ports::new(Echo::new(), Arc::new(Log::default()));
    let wanted: SocketAddr = "[::]:0".parse().unwrap();
    let failed = ports.apply(BTreeMap::from([(wanted, Arc::default())])).await;
    if failed.iter().any(|(_, error)| error.kind() == std::io::ErrorKind::AddrNotAvailable) {
        eprintln!("SKIPPED: this host has no IPv6");
        return;
    }
    assert!(failed.is_empty(), "{failed:?}");
    let port = ports.bound()[0].1.port();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    socket.write_all(get("/v4").as_bytes()).await.unwrap();
    let answer = read_response(&mut socket).await;
    assert!(
        answer.contains(&format!("GET /v4 body=0 peer=127.0.0.1:{}", socket.local_addr().unwrap().port())),
        "{answer}"
    );
}

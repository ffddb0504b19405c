//! TCPRoute: bytes, ends, resets, silence, shares, changes, the end of the process.

use super::*;
use std::collections::BTreeMap;
use std::io::ErrorKind;

const TCP: &str = "name: tcp, port: 9000, protocol: TCP";

fn to(endpoints: &[SocketAddr]) -> String {
    [
        gateway(&[TCP], ""),
        service("app", "TCP", endpoints),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_both_ways_at_once_and_unchanged() {
    let mut backend = Backend::start().await;
    let stand = stand(&to(&[backend.address])).await;
    let (up, down) = (pattern(5_000_000, 1), pattern(7_000_000, 2));
    let client = connect(&stand, 9000).await;
    let endpoint = backend.next().await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut endpoint_reads, mut endpoint_writes) = endpoint.into_split();
    let (sent_up, sent_down) = (up.clone(), down.clone());
    let there = tokio::spawn(async move {
        client_writes.write_all(&sent_up).await.unwrap();
        client_writes.shutdown().await.unwrap();
        client_writes
    });
    let back = tokio::spawn(async move {
        endpoint_writes.write_all(&sent_down).await.unwrap();
        endpoint_writes.shutdown().await.unwrap();
        endpoint_writes
    });
    let (got_up, got_down) = tokio::join!(rest(&mut endpoint_reads), rest(&mut client_reads));
    assert!(got_up.unwrap() == up && got_down.unwrap() == down);
    let _ = (there.await.unwrap(), back.await.unwrap());
}

#[tokio::test]
async fn a_side_that_has_said_all_still_hears_the_other() {
    let mut backend = Backend::start().await;
    let stand = stand(&to(&[backend.address])).await;
    // The client ends first.
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    send(&mut client, b"question").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut endpoint).await.unwrap(), b"question");
    send(&mut endpoint, b"answer").await;
    assert_eq!(exactly(&mut client, 6).await, b"answer");
    send(&mut endpoint, b", and more").await;
    drop(endpoint);
    assert_eq!(rest(&mut client).await.unwrap(), b", and more");
    // The endpoint ends first.
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    send(&mut endpoint, b"greeting").await;
    endpoint.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await.unwrap(), b"greeting");
    send(&mut client, b"thanks").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut endpoint).await.unwrap(), b"thanks");
}

#[tokio::test]
async fn a_reset_of_one_side_is_a_reset_of_the_other() {
    let mut backend = Backend::start().await;
    let stand = stand(&to(&[backend.address])).await;
    for talks_first in [false, true] {
        let mut client = connect(&stand, 9000).await;
        let mut endpoint = backend.next().await;
        if talks_first {
            send(&mut client, b"a").await;
            exactly(&mut endpoint, 1).await;
        }
        reset(client);
        assert_eq!(rest(&mut endpoint).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut client = connect(&stand, 9000).await;
        let mut endpoint = backend.next().await;
        if talks_first {
            send(&mut endpoint, b"a").await;
            exactly(&mut client, 1).await;
        }
        reset(endpoint);
        assert_eq!(rest(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reset_after_a_half_close_is_passed_on_too() {
    let mut backend = Backend::start().await;
    let stand = stand(&to(&[backend.address])).await;
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut endpoint).await.unwrap(), b"");
    reset(client);
    // The endpoint has read the end; only writing, or waiting for the reset, tells it.
    let told = async {
        while endpoint.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the endpoint learns of it", told).await;
}

#[tokio::test]
async fn silence_for_too_long_ends_a_connection_and_talk_keeps_it() {
    let mut backend = Backend::start().await;
    let yaml = [
        gateway(&[TCP], PARAMETERS),
        parameters("limits: {streamIdleTimeout: 400ms}"),
        service("app", "TCP", &[backend.address]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut silent = connect(&stand, 9000).await;
    let _of_silent = backend.next().await;
    let mut talks = connect(&stand, 9000).await;
    let mut of_talks = backend.next().await;
    let started = tokio::time::Instant::now();
    let silence = tokio::spawn(async move { rest(&mut silent).await.map(|it| it.len()) });
    // One direction is enough to keep it.
    while started.elapsed() < Duration::from_millis(1200) {
        send(&mut of_talks, b"x").await;
        exactly(&mut talks, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(silence.is_finished(), "a silent connection is closed");
    assert_eq!(rest(&mut talks).await.unwrap(), b"");
}

#[tokio::test]
async fn shares_are_exact_and_what_does_not_resolve_keeps_its_own() {
    let (a, b) = (named("a").await, named("b").await);
    let yaml = [
        gateway(&[TCP], ""),
        service("a", "TCP", &[a]),
        service("b", "TCP", &[b]),
        route("TCPRoute", "app", "port: 9000", "", &[("a", 5), ("b", 3), ("missing", 2)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        let got = match whole(&stand, 9000).await {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => error.kind().to_string(),
        };
        *counts.entry(got).or_default() += 1;
    }
    let expected = [("a", 50), ("b", 30), ("connection reset", 20)];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test]
async fn an_endpoint_that_does_not_listen_is_passed_over_and_none_at_all_is_a_reset() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = named("good").await;
    let mut stand = stand(&to(&[gone, good])).await;
    for _ in 0..10 {
        assert_eq!(whole(&stand, 9000).await.unwrap(), b"good");
    }
    stand.apply(&to(&[gone])).await;
    assert_eq!(whole(&stand, 9000).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    stand.apply(&to(&[])).await;
    assert_eq!(whole(&stand, 9000).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(
        !metric(&stand, "sluice_upstream_connect_failures_total{backend=\"Service/default/app:80+tcp\"}")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn the_oldest_of_two_routes_has_all() {
    let (a, b) = (named("a").await, named("b").await);
    let aged = route("TCPRoute", "z", "port: 9000", "", &[("b", 1)])
        .replace("{name: z}", "{name: z, creationTimestamp: \"2020-01-01T00:00:00Z\"}");
    let young = route("TCPRoute", "a", "port: 9000", "", &[("a", 1)])
        .replace("{name: a}\n", "{name: a, creationTimestamp: \"2021-01-01T00:00:00Z\"}\n");
    let services = [service("a", "TCP", &[a]), service("b", "TCP", &[b])].concat();
    let mut stand = stand(&[gateway(&[TCP], ""), services.clone(), young.clone(), aged].concat()).await;
    for _ in 0..4 {
        assert_eq!(whole(&stand, 9000).await.unwrap(), b"b");
    }
    stand.apply(&[gateway(&[TCP], ""), services, young].concat()).await;
    assert_eq!(whole(&stand, 9000).await.unwrap(), b"a");
}

#[tokio::test]
async fn a_change_touches_no_open_connection() {
    let (mut old, new) = (Backend::start().await, named("new").await);
    let mut stand = stand(&to(&[old.address])).await;
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = old.next().await;
    send(&mut client, b"1").await;
    exactly(&mut endpoint, 1).await;
    stand.apply(&to(&[new])).await;
    assert_eq!(whole(&stand, 9000).await.unwrap(), b"new");
    send(&mut client, b"2").await;
    assert_eq!(exactly(&mut endpoint, 1).await, b"2");
    // Not even when the listener goes.
    stand.apply(&gateway(&["name: other, port: 9001, protocol: TCP"], "")).await;
    assert!(TcpStream::connect(stand.address(9000)).await.is_err());
    send(&mut endpoint, b"3").await;
    assert_eq!(exactly(&mut client, 1).await, b"3");
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_connections_until_the_deadline() {
    for ends_in_time in [true, false] {
        let mut backend = Backend::start().await;
        let stand = stand(&to(&[backend.address])).await;
        let mut client = connect(&stand, 9000).await;
        let mut endpoint = backend.next().await;
        let address = stand.address(9000);
        let deadline = Duration::from_millis(if ends_in_time { 20_000 } else { 300 });
        let drain = tokio::spawn(stand.drain(deadline));
        sluice_tests::eventually("nobody new is let in", || async {
            TcpStream::connect(address).await.is_err()
        })
        .await;
        send(&mut client, b"still here").await;
        assert_eq!(exactly(&mut endpoint, 10).await, b"still here");
        if ends_in_time {
            drop((client, endpoint));
            assert_eq!(soon("the drain", drain).await.unwrap(), 0);
        } else {
            assert_eq!(soon("the drain", drain).await.unwrap(), 1);
            assert!(rest(&mut client).await.is_ok_and(|it| it.is_empty()));
        }
    }
}

#[tokio::test]
async fn a_proxy_header_is_read_and_limits_hold() {
    let mut backend = Backend::start().await;
    let yaml = [
        gateway(&[TCP], PARAMETERS),
        parameters("proxyProtocol: Required, limits: {connectionsPerClient: 1}"),
        service("app", "TCP", &[backend.address]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut client = connect(&stand, 9000).await;
    send(&mut client, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nbytes").await;
    let mut endpoint = backend.next().await;
    assert_eq!(exactly(&mut endpoint, 5).await, b"bytes");
    // The same client again, by its own address; then another.
    let mut again = connect(&stand, 9000).await;
    send(&mut again, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").await;
    assert!(rest(&mut again).await.map_or(true, |it| it.is_empty()), "closed without a word");
    let mut other = connect(&stand, 9000).await;
    send(&mut other, b"PROXY TCP4 192.0.2.9 192.0.2.2 1 2\r\nother").await;
    assert_eq!(exactly(&mut backend.next().await, 5).await, b"other");
}

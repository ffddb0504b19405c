//! UDPRoute: sessions, shares, endpoints that go, silence.

use super::*;
use std::collections::BTreeMap;
use tokio::net::UdpSocket;

const UDP: &str = "name: udp, port: 9000, protocol: UDP";

/// A backend that answers each datagram with its name and what it got.
async fn echo(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let answer = [name.as_bytes(), b":", &buffer[..len]].concat();
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

fn to(limits: &str, endpoints: &[SocketAddr]) -> String {
    [
        gateway(&[UDP], PARAMETERS),
        parameters(limits),
        service("app", "UDP", endpoints),
        route("UDPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ]
    .concat()
}

async fn client(stand: &Stand) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(stand.address(9000)).await.unwrap();
    socket
}

/// The answer to a datagram; `None` when there is none for a while.
async fn ask(client: &UdpSocket, bytes: &[u8]) -> Option<Vec<u8>> {
    client.send(bytes).await.unwrap();
    let mut buffer = vec![0; 65_536];
    let got = tokio::time::timeout(Duration::from_millis(500), client.recv(&mut buffer)).await;
    got.ok().map(|len| buffer[..len.unwrap()].to_vec())
}

/// The same, again and again: a datagram may be lost.
async fn answered(client: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    for _ in 0..20 {
        if let Some(answer) = ask(client, bytes).await {
            return answer;
        }
    }
    panic!("no answer to {bytes:?}");
}

#[tokio::test]
async fn datagrams_of_every_size_come_back_to_whoever_sent_them() {
    let stand = stand(&to("", &[echo("a").await])).await;
    let (first, second) = (client(&stand).await, client(&stand).await);
    for len in [0, 1, 100, 1_400, 9_000, 60_000] {
        let bytes = pattern(len, 3);
        assert_eq!(answered(&first, &bytes).await, [b"a:", &bytes[..]].concat());
        assert_eq!(answered(&second, b"other").await, b"a:other");
    }
}

#[tokio::test]
async fn a_client_stays_at_its_endpoint_and_clients_are_shared_out_exactly() {
    let yaml = [
        gateway(&[UDP], ""),
        service("a", "UDP", &[echo("a").await]),
        service("b", "UDP", &[echo("b").await]),
        route("UDPRoute", "app", "port: 9000", "", &[("a", 7), ("b", 3)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..20 {
        let client = client(&stand).await;
        let first = answered(&client, b"x").await;
        for _ in 0..3 {
            assert_eq!(answered(&client, b"x").await, first);
        }
        *counts.entry(String::from_utf8(first).unwrap()).or_default() += 1;
    }
    assert_eq!(counts, [("a:x".to_owned(), 14), ("b:x".to_owned(), 6)].into());
}

#[tokio::test]
async fn a_share_that_does_not_resolve_is_dropped() {
    let yaml = [
        gateway(&[UDP], ""),
        service("a", "UDP", &[echo("a").await]),
        route("UDPRoute", "app", "port: 9000", "", &[("a", 1), ("missing", 1)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut answers = 0;
    for _ in 0..8 {
        answers += usize::from(ask(&client(&stand).await, b"x").await.is_some());
    }
    assert_eq!(answers, 4);
    let dropped = metric(&stand, "sluice_datagrams_dropped_total").await;
    assert!(dropped[0].ends_with(" 4"), "{dropped:?}");
}

#[tokio::test]
async fn a_session_moves_when_its_endpoint_is_taken_away() {
    let (a, b) = (echo("a").await, echo("b").await);
    let mut stand = stand(&to("", &[a])).await;
    let client = client(&stand).await;
    assert_eq!(answered(&client, b"1").await, b"a:1");
    stand.apply(&to("", &[b])).await;
    assert_eq!(answered(&client, b"2").await, b"b:2");
}

#[tokio::test]
async fn a_session_moves_when_nobody_is_at_its_endpoint() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stand = stand(&to("", &[gone, echo("b").await])).await;
    for _ in 0..6 {
        assert_eq!(answered(&client(&stand).await, b"x").await, b"b:x");
    }
}

#[tokio::test]
async fn silence_ends_a_session_and_a_limit_bounds_them() {
    let stand =
        stand(&to("limits: {datagramIdleTimeout: 300ms, datagramSessions: 2}", &[echo("a").await])).await;
    let (first, second, third) = (client(&stand).await, client(&stand).await, client(&stand).await);
    answered(&first, b"1").await;
    answered(&second, b"2").await;
    let mut refused = 0;
    while metric(&stand, "sluice_streams_open").await[0].ends_with(" 2") && refused == 0 {
        third.send(b"3").await.unwrap();
        refused = metric(&stand, "sluice_datagrams_dropped_total").await.len();
        answered(&first, b"1").await;
        answered(&second, b"2").await;
    }
    assert_eq!(refused, 1, "the third client is not let in while there are two");
    assert_eq!(answered(&third, b"3").await, b"a:3");
    sluice_tests::eventually("all are over", || async {
        metric(&stand, "sluice_streams_open").await[0].ends_with(" 0")
    })
    .await;
}

#[tokio::test]
async fn ports_of_both_protocols_share_a_number_and_come_and_go() {
    let (tcp, udp) = (named("tcp").await, echo("udp").await);
    let more = [
        service("t", "TCP", &[tcp]),
        service("u", "UDP", &[udp]),
        route("TCPRoute", "t", "port: 9000", "", &[("t", 1)]),
        route("UDPRoute", "u", "port: 9000", "", &[("u", 1)]),
    ]
    .concat();
    let both = [gateway(&["name: tcp, port: 9000, protocol: TCP", UDP], ""), more.clone()].concat();
    let mut stand = stand(&both).await;
    assert_eq!(whole(&stand, 9000).await.unwrap(), b"tcp");
    let client = client(&stand).await;
    assert_eq!(answered(&client, b"x").await, b"udp:x");
    stand.apply(&[gateway(&["name: tcp, port: 9000, protocol: TCP"], ""), more.clone()].concat()).await;
    client.send(b"y").await.ok();
    assert!(UdpSocket::bind(stand.address(9000)).await.is_ok(), "the port is free");
    stand.apply(&both).await;
    let again = self::client(&stand).await;
    assert_eq!(answered(&again, b"z").await, b"udp:z");
}

#[tokio::test]
async fn the_end_of_the_process_lets_sessions_end() {
    let stand = stand(&to("limits: {datagramIdleTimeout: 200ms}", &[echo("a").await])).await;
    let client = client(&stand).await;
    answered(&client, b"1").await;
    assert_eq!(soon("the drain", stand.drain(Duration::from_secs(10))).await, 0);
}

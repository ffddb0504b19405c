//! What stays of a stream: one record, and counters.

use super::*;
use sluice_tests::Sluice;
use tokio::net::UdpSocket;

#[tokio::test]
async fn each_stream_has_a_record_with_its_bytes_and_its_end() {
    let mut backend = Backend::start().await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let yaml = [
        gateway(
            &["name: tcp, port: 9000, protocol: TCP", "name: udp, port: 9000, protocol: UDP"],
            PARAMETERS,
        ),
        parameters("accessLog: JSON, limits: {datagramIdleTimeout: 100ms}"),
        service("app", "TCP", &[backend.address]),
        service("dns", "UDP", &[datagrams.local_addr().unwrap()]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
        route("UDPRoute", "dns", "port: 9000", "", &[("dns", 1)]),
    ];
    std::fs::write(folder.path().join("all.yaml"), yaml.concat()).unwrap();
    let mut sluice = Sluice::run(folder.path(), &[]).await;
    let mut client = TcpStream::connect(sluice.address(9000)).await.unwrap();
    let mut endpoint = backend.next().await;
    send(&mut client, b"12345").await;
    exactly(&mut endpoint, 5).await;
    send(&mut endpoint, b"123").await;
    exactly(&mut client, 3).await;
    drop(endpoint);
    rest(&mut client).await.unwrap();
    drop(client);
    let asking = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    asking.send_to(b"1234567", sluice.address(9000)).await.unwrap();
    let mut buffer = [0; 16];
    let (_, from) = soon("a datagram", datagrams.recv_from(&mut buffer)).await.unwrap();
    datagrams.send_to(b"12", from).await.unwrap();
    assert_eq!(soon("a reply", asking.recv(&mut buffer)).await.unwrap(), 2);
    let record = |protocol: &'static str| {
        let said = sluice.said();
        let line = said.lines().find(|it| it.contains(&format!("\"protocol\":\"{protocol}\"")))?.to_owned();
        serde_json::from_str::<serde_json::Value>(&line[line.find('{')?..]).ok()
    };
    sluice_tests::eventually("both are written", || async {
        record("TCP").is_some() && record("UDP").is_some()
    })
    .await;
    for (protocol, route, bytes) in
        [("TCP", "TCPRoute default/app", (5, 3)), ("UDP", "UDPRoute default/dns", (7, 2))]
    {
        let it = record(protocol).unwrap();
        assert_eq!((it["route"].as_str(), it["outcome"].as_str()), (Some(route), Some("served")), "{it}");
        assert_eq!(
            (it["request_bytes"].as_u64(), it["response_bytes"].as_u64()),
            (Some(bytes.0), Some(bytes.1))
        );
        assert!(
            it["upstream_address"].is_string()
                && it["client_address"].is_string()
                && it["duration_ms"].is_number()
        );
        assert!(it.get("method").is_none() && it.get("path").is_none(), "{it}");
        assert_eq!(it["attempts"], 1);
    }
    sluice.signal("TERM").await;
    assert_eq!(sluice.ended().await.code(), Some(0));
}

#[tokio::test]
async fn counters_grow_while_a_connection_is_open() {
    let mut backend = Backend::start().await;
    let yaml = [
        gateway(&["name: tcp, port: 9000, protocol: TCP"], ""),
        service("app", "TCP", &[backend.address]),
        route("TCPRoute", "app", "port: 9000", "", &[("app", 1)]),
    ];
    let stand = stand(&yaml.concat()).await;
    let mut client = connect(&stand, 9000).await;
    let mut endpoint = backend.next().await;
    send(&mut client, b"12345").await;
    exactly(&mut endpoint, 5).await;
    let labels = "{gateway=\"default/web\",route=\"TCPRoute default/app\"";
    for (name, number) in
        [("streams_open", 1), ("stream_received_bytes_total", 5), ("stream_sent_bytes_total", 0)]
    {
        let expected = format!("sluice_{name}{labels}}} {number}");
        sluice_tests::eventually(&expected, || async {
            metric(&stand, &format!("sluice_{name}{labels}")).await.contains(&expected)
        })
        .await;
    }
    reset(client);
    let ended = format!("sluice_streams_total{labels},outcome=\"client_gone\"}} 1");
    sluice_tests::eventually(&ended, || async {
        metric(&stand, "sluice_streams_total").await.contains(&ended)
    })
    .await;
}

//! `istio_*` of real requests and connections.

use super::mesh::{Wanted, application, get, scraped};
use sluice_ir as ir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn line<'a>(text: &'a str, start: &str, parts: &[&str]) -> Option<&'a str> {
    text.lines().find(|it| it.starts_with(start) && parts.iter().all(|part| it.contains(part)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_names_the_workload_behind_the_endpoint() {
    let target = application().await;
    let wanted = Wanted { peer: Some("ratings"), ..Wanted::new("reviews", target) };
    let plane = wanted.start().await;
    let answer = get(plane.address, "/", "x-envoy-peer-metadata: forged\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("peer-metadata"), "an application tells of no workload: {answer}");
    assert!(answer.contains("x-request-id: "), "{answer}");
    get(plane.address, "/broken", "").await;
    let text = scraped(&plane.proxy, |text| text.contains("response_code=\"500\"")).await;
    let ok = line(&text, "istio_requests_total{", &["response_code=\"200\""]).unwrap();
    for part in [
        "reporter=\"source\"",
        "source_workload=\"reviews-v1\"",
        "source_principal=\"unknown\"",
        "destination_workload=\"ratings-v1\"",
        "destination_workload_namespace=\"shop\"",
        "destination_service=\"target.shop.svc.cluster.local\"",
        "destination_service_name=\"target\"",
        "destination_version=\"v1\"",
        "connection_security_policy=\"none\"",
        "response_flags=\"-\"",
    ] {
        assert!(ok.contains(part), "{part} in {ok}");
    }
    assert!(ok.ends_with("} 1"), "{ok}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_gone_is_a_source_with_flags() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plane = Wanted::new("reviews", gone).start().await;
    assert!(get(plane.address, "/", "").await.starts_with("HTTP/1.1 502"));
    let text = scraped(&plane.proxy, |text| text.contains("istio_requests_total{")).await;
    let failed = line(&text, "istio_requests_total{", &["response_flags=\"UF\"", "response_code=\"502\""]);
    let failed = failed.unwrap_or_else(|| panic!("{text}"));
    assert!(
        failed.contains("destination_workload=\"unknown\"")
            && failed.contains("destination_service_name=\"target\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_counted_while_it_lasts() {
    let target = application().await;
    let wanted = Wanted { peer: Some("db"), is_stream: true, ..Wanted::new("reviews", target) };
    let plane = wanted.start().await;
    let mut stream = TcpStream::connect(plane.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 256];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    let moved =
        |text: &str| line(text, "istio_tcp_sent_bytes_total{", &[]).is_some_and(|it| !it.ends_with("} 0"));
    let text = scraped(&plane.proxy, moved).await;
    let opened =
        line(&text, "istio_tcp_connections_opened_total{", &["destination_workload=\"db-v1\""]).unwrap();
    assert!(opened.ends_with("} 1") && !opened.contains("response_code"), "{opened}");
    assert!(line(&text, "istio_tcp_connections_closed_total{", &[]).unwrap().ends_with("} 0"));
    assert!(line(&text, "istio_tcp_received_bytes_total{", &[]).unwrap().ends_with("} 18"), "{text}");
    drop(stream);
    scraped(&plane.proxy, |text| {
        line(text, "istio_tcp_connections_closed_total{", &[]).is_some_and(|it| it.ends_with("} 1"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_in_the_clear_believes_nobody() {
    let target = application().await;
    let plane = Wanted { is_inbound: true, ..Wanted::new("reviews", target) }.start().await;
    let answer = get(plane.address, "/", "x-envoy-peer-metadata: CgUKA2Zvbw==\r\n").await;
    assert!(!answer.contains("peer-metadata"), "{answer}");
    let text = scraped(&plane.proxy, |text| text.contains("istio_requests_total{")).await;
    let seen = line(&text, "istio_requests_total{", &[]).unwrap();
    for part in [
        "reporter=\"destination\"",
        "source_workload=\"unknown\"",
        "destination_workload=\"reviews-v1\"",
        "destination_service_name=\"reviews\"",
        "connection_security_policy=\"none\"",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn istios_log_tells_of_a_failure_in_envoys_words() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plane = Wanted { access_log: ir::AccessLog::IstioJson, ..Wanted::new("reviews", gone) }.start().await;
    get(plane.address, "/a?secret=1", "x-forwarded-for: 192.0.2.1\r\n").await;
    plane.proxy.drain(std::time::Duration::from_secs(2)).await;
    let log = plane.log.text();
    for part in [
        "\"response_flags\":\"UF\"",
        "\"response_code\":502",
        "\"upstream_cluster\":\"outbound|80||target.shop.svc.cluster.local\"",
        "\"path\":\"/a\"",
        "\"x_forwarded_for\":\"192.0.2.1\"",
        "\"authority\":\"target.shop\"",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telemetry_turns_the_log_off_and_labels_away() {
    let target = application().await;
    let telemetry = ir::Telemetry {
        origin: ir::Origin::new("Telemetry", "shop", "quiet"),
        reach: ir::TelemetryReach::Workload,
        selector: ir::Selector::default(),
        tracing: Vec::new(),
        metrics: vec![ir::MetricRule {
            mode: ir::TelemetryMode::Client,
            metric: Some("REQUEST_COUNT".to_owned()),
            is_disabled: None,
            removed_tags: vec!["response_flags".to_owned()],
        }],
        access_log: vec![ir::AccessLogRule { mode: ir::TelemetryMode::Both, form: ir::AccessLog::Off }],
    };
    let wanted =
        Wanted { access_log: ir::AccessLog::Json, telemetry: vec![telemetry], ..Wanted::new("a", target) };
    let plane = wanted.start().await;
    get(plane.address, "/", "").await;
    let text = scraped(&plane.proxy, |text| text.contains("istio_requests_total{")).await;
    assert!(!line(&text, "istio_requests_total{", &[]).unwrap().contains("response_flags"));
    assert!(line(&text, "istio_request_bytes_count{", &[]).unwrap().contains("response_flags"));
    plane.proxy.drain(std::time::Duration::from_secs(2)).await;
    assert_eq!(plane.log.text(), "");
}

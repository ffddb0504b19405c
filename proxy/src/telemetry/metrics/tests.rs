//! What a scrape shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Metrics, NONE, names};
use crate::telemetry::Outcome;
use crate::upstream::{EjectPolicy, MirrorClient, MirrorLimits, MirrorRequest, Resolver, Upstreams};
use sluice_ir::{
    BackendProtocol, Balancing, Endpoint, EndpointAddress, EndpointSet, EndpointSetKey, EndpointState,
    Origin, Snapshot,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CART: &str = "HTTPRoute shop/cart";

fn served(metrics: &Metrics, gateway: &str, route: &str) {
    metrics.route(gateway, route).finished(Outcome::Served, 200, Duration::from_millis(3), 10, 20);
}

#[test]
fn a_finished_request_is_counted_with_its_labels() {
    let metrics = Metrics::new();
    served(&metrics, "edge/web", CART);
    metrics.route("edge/web", CART).finished(Outcome::NoEndpoint, 503, Duration::ZERO, 0, 0);
    metrics.route("edge/web", CART).retried();
    let text = metrics.encode();
    let labels = r#"gateway="edge/web",route="HTTPRoute shop/cart""#;
    for line in [
        format!(r#"sluice_requests_total{{{labels},outcome="served",code_class="2xx"}} 1"#),
        format!(r#"sluice_requests_total{{{labels},outcome="no_endpoint",code_class="5xx"}} 1"#),
        format!(r#"sluice_request_duration_seconds_bucket{{le="0.0025",{labels}}} 1"#),
        format!(r#"sluice_request_duration_seconds_bucket{{le="0.005",{labels}}} 2"#),
        format!(r#"sluice_request_duration_seconds_bucket{{le="+Inf",{labels}}} 2"#),
        format!(r"sluice_request_duration_seconds_count{{{labels}}} 2"),
        format!(r"sluice_request_duration_seconds_sum{{{labels}}} 0.003"),
        format!(r"sluice_request_body_bytes_total{{{labels}}} 10"),
        format!(r"sluice_response_body_bytes_total{{{labels}}} 20"),
        format!(r"sluice_retries_total{{{labels}}} 1"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("redirected"), "an outcome that did not occur is shown:\n{text}");
}

#[test]
fn the_same_labels_give_the_same_handle_until_it_is_retired() {
    let metrics = Metrics::new();
    let first = metrics.route("edge/web", CART);
    assert!(Arc::ptr_eq(&first, &metrics.route("edge/web", CART)));
    assert!(!Arc::ptr_eq(&first, &metrics.route("edge/other", CART)));
    metrics.retire("edge/web", CART);
    assert!(!Arc::ptr_eq(&first, &metrics.route("edge/web", CART)));
}

#[test]
fn what_is_retired_is_not_shown() {
    let metrics = Metrics::new();
    for route in [CART, "HTTPRoute shop/gone", NONE] {
        served(&metrics, "edge/web", route);
    }
    metrics.connect_failed("Service/shop/gone:80");
    let address = "0.0.0.0:8080".parse().unwrap();
    metrics.port(address).opened();
    metrics.connection_closed(address);
    assert!(metrics.encode().contains(":8080\""), "a bound port without connections");
    metrics.retire_routes_except(|_, route| route == CART);
    metrics.retire_backends_except(|_| false);
    metrics.retire_ports_except(|_| false);
    let text = metrics.encode();
    assert!(!text.contains("gone") && !text.contains(":8080\""), "{text}");
    assert!(text.contains(CART) && text.contains(r#"route="none""#), "{text}");
}

/// Connections may outlive their port's binding: it is shown as long as they do, and counts on when it is bound again.
#[test]
fn a_port_leaves_with_its_last_connection() {
    let metrics = Metrics::new();
    let address = "0.0.0.0:8080".parse().unwrap();
    let shown = |count| {
        let line = format!("sluice_connections_open{{address=\"0.0.0.0:8080\"}} {count}\n");
        metrics.encode().contains(&line)
    };
    metrics.port(address).opened();
    metrics.port(address).opened();
    metrics.retire_ports_except(|_| false);
    assert!(shown(2));
    metrics.connection_closed(address);
    assert!(shown(1));
    metrics.retire_ports_except(|it| it == address);
    metrics.connection_closed(address);
    assert!(shown(0), "bound again");
    metrics.port(address).opened();
    metrics.retire_ports_except(|_| false);
    metrics.connection_closed(address);
    assert!(!metrics.encode().contains(":8080\""));
}

#[test]
fn ports_and_connect_failures_are_counted() {
    let metrics = Metrics::new();
    let port = metrics.port("[::]:443".parse().unwrap());
    port.opened();
    port.opened();
    port.closed();
    port.refused(Outcome::HeadTimeout);
    port.tls_failed();
    metrics.connect_failed("Service/shop/cart:8080");
    let text = metrics.encode();
    for line in [
        r#"sluice_connections_total{address="[::]:443"} 2"#,
        r#"sluice_connections_open{address="[::]:443"} 1"#,
        r#"sluice_connections_refused_total{address="[::]:443",reason="head_timeout"} 1"#,
        r#"sluice_tls_handshake_failures_total{address="[::]:443"} 1"#,
        r#"sluice_upstream_connect_failures_total{backend="Service/shop/cart:8080"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
    }
}

#[tokio::test]
async fn endpoints_are_read_from_the_pools() {
    let key = EndpointSetKey::new("Service/shop/cart:8080");
    let endpoint = |port: u16, state| Endpoint {
        address: EndpointAddress::Socket(([127, 0, 0, 1], port).into()),
        state,
        weight: 1,
        topology: None,
        workload: None,
    };
    let set = EndpointSet {
        is_external: false,
        takes_first: false,
        asked: None,
        key: key.clone(),
        origin: Origin::new("Service", "shop", "cart"),
        endpoints: vec![
            endpoint(1, EndpointState::Ready),
            endpoint(2, EndpointState::Ready),
            endpoint(3, EndpointState::Draining),
        ],
    };
    let upstreams = Upstreams::new(Resolver::system());
    upstreams.apply(&BTreeMap::from([(key.clone(), Arc::new(set))]));
    let metrics = Metrics::new();
    metrics.set_upstreams(&upstreams);
    let picked = upstreams.pool(&key).unwrap().pick(Balancing::LeastRequest, &[], None).unwrap();
    picked.failed(Instant::now(), EjectPolicy { after: 1, base: Duration::from_secs(60) });
    let text = metrics.encode();
    let set = r#"endpoint_set="Service/shop/cart:8080""#;
    for line in [
        format!(r#"sluice_endpoints{{{set},state="ready"}} 1"#),
        format!(r#"sluice_endpoints{{{set},state="draining"}} 1"#),
        format!(r#"sluice_endpoints{{{set},state="resting"}} 1"#),
        format!(r"sluice_endpoint_requests_in_flight{{{set}}} 1"),
        format!(r"sluice_endpoint_ejections_total{{{set}}} 1"),
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
    }
    drop((picked, upstreams));
    assert!(!metrics.encode().contains("shop/cart"));
}

#[test]
fn copies_are_read_from_their_client() {
    let (metrics, mirrors) = (Metrics::new(), MirrorClient::new(MirrorLimits::default()));
    assert!(metrics.encode().contains("sluice_mirrors_total{result=\"failed\"} 0\n"));
    metrics.set_mirrors(&mirrors);
    // Outside a tokio runtime a copy fails at once.
    let copy = MirrorRequest {
        address: ([127, 0, 0, 1], 1).into(),
        tls: None,
        protocol: BackendProtocol::Http1,
        method: http::Method::GET,
        uri: http::Uri::from_static("http://shop.example.com/"),
        headers: http::HeaderMap::new(),
        has_body: false,
    };
    mirrors.start(copy).finish();
    let text = metrics.encode();
    assert!(text.contains("sluice_mirrors_total{result=\"failed\"} 1\n"), "{text}");
}

#[test]
fn the_configuration_and_the_process_are_shown() {
    let metrics = Metrics::new();
    metrics.config_applied(&Snapshot::default(), Duration::from_millis(1500), 2);
    metrics.config_failed();
    metrics.request_started();
    metrics.panicked();
    let text = metrics.encode();
    for line in [
        r#"sluice_config_applies_total{result="applied"} 1"#,
        r#"sluice_config_applies_total{result="failed"} 1"#,
        "sluice_config_last_apply_duration_seconds 1.5",
        "sluice_config_listeners_refused 2",
        r#"sluice_config_resources{kind="Route"} 0"#,
        "sluice_requests_in_flight 1",
        "sluice_panics_total 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    metrics.request_ended();
    assert!(metrics.encode().contains("\nsluice_requests_in_flight 0\n"));
}

#[test]
fn a_label_can_break_no_line() {
    let metrics = Metrics::new();
    served(&metrics, "a\"b\\c\nd", "e");
    let text = metrics.encode();
    assert!(text.contains(r#"gateway="a\"b\\c\nd""#), "{text}");
}

#[test]
fn every_metric_is_described_once_and_the_text_ends_as_openmetrics_asks() {
    let metrics = Metrics::new();
    metrics.set_access_log(&crate::telemetry::AccessLogger::to_writer(Box::new(std::io::sink())));
    let text = metrics.encode();
    for info in names::ALL {
        let family = info.name.strip_suffix("_total").unwrap_or(info.name);
        let found = text.lines().filter(|line| line.starts_with(&format!("# TYPE {family} "))).count();
        assert_eq!(found, 1, "{}", info.name);
    }
    assert_eq!(text.matches("# TYPE ").count(), names::ALL.len());
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_follow_the_conventions() {
    for info in names::ALL {
        let total = info.name.ends_with("_total");
        assert_eq!(total, info.kind == names::Kind::Counter, "{}", info.name);
        assert!(!info.help.ends_with('.') && !info.help.contains(['\n', '\\']), "{}", info.name);
    }
}

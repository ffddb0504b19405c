//! ServiceEntries that choose workloads, that share hosts and addresses, and a forward proxy that leads to them.

use super::{Slot, slot};
use serde_json::{Value, json};

const ISTIO: &str = "networking.istio.io/v1";

pub(super) fn slots() -> Vec<Slot> {
    let ports = json!([{"number": 80, "name": "http", "protocol": "HTTP"}, {"number": 443, "name": "tls", "protocol": "TLS"}]);
    let entry = |host: &str, resolution: &str, more: Value| {
        let mut spec = json!({"hosts": [host], "resolution": resolution, "ports": ports});
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        json!({ "spec": spec })
    };
    let choosing = |labels: Value| {
        entry(
            "vm.test",
            "STATIC",
            json!({"location": "MESH_INTERNAL", "workloadSelector": {"labels": labels}}),
        )
    };
    let given = |host: &str, address: &str, created: &str| {
        let mut it = entry(host, "DNS", json!({}));
        it["metadata"] = json!({"creationTimestamp": created});
        it["status"] = json!({"addresses": [{"host": host, "value": address}]});
        it
    };
    let workload = |labels: Value, address: &str| {
        let mut it = json!({"spec": {"address": address, "labels": labels}});
        it["metadata"] = json!({"labels": {"team": "shop"}});
        it
    };
    let proxy = json!({"spec": {"gatewayClassName": "sluice",
        "listeners": [{"name": "proxy", "port": 3128, "protocol": "sluice.dev/ForwardProxy"}]}});
    let chooser = json!({"spec": {"selector": {"app": "vm"}, "ports": [{"port": 1}]}});
    let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "vm"}}, "addressType": "IPv4",
                       "endpoints": [{"addresses": ["10.4.0.1"]}]});
    let cart = "cart.shop.svc.cluster.local";
    vec![
        slot("gateway.networking.k8s.io/v1", "Gateway", "shop", "proxy", vec![proxy]),
        slot(
            ISTIO,
            "ServiceEntry",
            "shop",
            "vm",
            vec![
                choosing(json!({"app": "vm"})),
                choosing(json!({"app": "vm", "team": "shop"})),
                choosing(json!({})),
                entry(
                    "vm.test",
                    "STATIC",
                    json!({"endpoints": [{"address": "10.3.0.1"}], "exportTo": ["other"]}),
                ),
            ],
        ),
        slot(
            ISTIO,
            "ServiceEntry",
            "shop",
            "more",
            vec![
                given("vm.test", "240.240.0.9", "2026-01-01T00:00:00Z"),
                given("vm.test", "240.240.0.8", "2026-02-01T00:00:00Z"),
                entry(
                    cart,
                    "STATIC",
                    json!({"endpoints": [{"address": "10.3.0.2"}], "subjectAltNames": ["a.test"]}),
                ),
                entry("*.wild.test", "DYNAMIC_DNS", json!({})),
                entry("vm.test", "NONE", json!({"addresses": ["10.9.0.0/16", "240.240.0.9"]})),
            ],
        ),
        slot(
            ISTIO,
            "ServiceEntry",
            "other",
            "vm",
            vec![
                given("vm.test", "240.240.0.9", "2026-01-15T00:00:00Z"),
                entry("*.wild.test", "DNS", json!({"exportTo": ["."]})),
                entry(
                    "vm.test",
                    "DNS_ROUND_ROBIN",
                    json!({"exportTo": ["shop"], "endpoints": [{"address": "a.test"}]}),
                ),
            ],
        ),
        slot(
            ISTIO,
            "WorkloadEntry",
            "shop",
            "a",
            vec![
                workload(json!({"app": "vm"}), "10.3.1.1"),
                workload(json!({"app": "vm"}), "10.3.1.2"),
                workload(json!({"app": "else"}), "10.3.1.1"),
                workload(json!({"app": "vm", "team": "other"}), "vm.test"),
            ],
        ),
        slot(ISTIO, "WorkloadEntry", "shop", "b", vec![workload(json!({"app": "vm"}), "10.3.1.2")]),
        slot(ISTIO, "WorkloadEntry", "other", "a", vec![workload(json!({"app": "vm"}), "10.3.1.3")]),
        slot("v1", "Service", "shop", "vm", vec![chooser]),
        slot("discovery.k8s.io/v1", "EndpointSlice", "shop", "vm-1", vec![slice]),
    ]
}

//! From calls to the outside to ServiceEntries: one for each host, for its own namespace alone.

use super::Workload;
use super::observed::Destination;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Longest name of an object.
const NAME_BYTES: usize = 63;

pub(super) fn make(namespace: &str, workloads: &[Workload]) -> Vec<Value> {
    let mut hosts: BTreeMap<&str, BTreeSet<(u16, &'static str)>> = BTreeMap::new();
    for call in workloads.iter().flat_map(|it| it.observed.calls.keys()) {
        if let Destination::Outside { host, port, protocol } = &call.to {
            hosts.entry(host).or_default().insert((*port, protocol.word()));
        }
    }
    hosts.into_iter().map(|(host, ports)| entry(namespace, host, &ports)).collect()
}

fn entry(namespace: &str, host: &str, ports: &BTreeSet<(u16, &'static str)>) -> Value {
    let address: Option<IpAddr> = host.parse().ok();
    // The first protocol that was seen on a port: an entry has each number once.
    let ports: BTreeMap<u16, &str> = ports.iter().rev().map(|(port, protocol)| (*port, *protocol)).collect();
    let ports: Vec<Value> = ports
        .iter()
        .map(|(port, protocol)| {
            let name = format!("{}-{port}", protocol.to_ascii_lowercase());
            json!({"number": port, "name": name, "protocol": protocol})
        })
        .collect();
    let name = name_of(host);
    let mut spec = json!({
        "hosts": [if address.is_some() { format!("{name}.address.internal") } else { host.to_owned() }],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "ports": ports,
        "resolution": if address.is_some() { "NONE" } else { "DNS" },
    });
    if let Some(address) = address {
        spec["addresses"] = json!([address.to_string()]);
    }
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

/// A name for an object: what no name may have becomes `-`.
fn name_of(host: &str) -> String {
    let letters = host
        .bytes()
        .map(|it| if it.is_ascii_alphanumeric() { char::from(it.to_ascii_lowercase()) } else { '-' });
    let name: String = letters.take(NAME_BYTES).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "host".to_owned() } else { name.to_owned() }
}

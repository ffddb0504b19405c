//! What policies and DestinationRules say of a backend, in words.

use super::describe::{balancing, duration};
use super::places::Places;
use super::report::Part;
use sluice_ir::{
    Backend, BackendPolicy, HashKey, HashTable, HealthCheck, HealthProbe, LocalityPolicy, Trust, UpstreamTls,
    WantedLabel,
};

/// One line for each thing that it says.
pub(super) fn parts(backend: &Backend, places: &mut Places<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(tls) = &backend.tls {
        parts.push(Part::new(format!("{}, by {}", self::tls(tls), tls.origin), places.of(&tls.origin)));
    }
    if let Some(policy) = &backend.policy {
        let lines = policy_lines(policy).into_iter();
        let position = places.of(&policy.origin);
        parts.extend(lines.map(|it| Part::new(format!("{it}, by {}", policy.origin), position.clone())));
    }
    if let Some(check) = &backend.health {
        parts.push(Part::new(format!("{}, by {}", health(check), check.origin), places.of(&check.origin)));
    }
    parts
}

fn health(it: &HealthCheck) -> String {
    let asked = match &it.probe {
        HealthProbe::Http { is_head, path, host, .. } => {
            format!("{} {path} of {host:?}", if *is_head { "HEAD" } else { "GET" })
        }
        HealthProbe::Grpc { service, .. } if service.is_empty() => "gRPC health".to_owned(),
        HealthProbe::Grpc { service, .. } => format!("gRPC health of {service:?}"),
        HealthProbe::Tcp => "a connection".to_owned(),
    };
    let port = it.port.map(|port| format!(" at port {port}")).unwrap_or_default();
    let (every, out, back) = (duration(it.interval), it.unhealthy_after, it.healthy_after);
    format!("health check: {asked}{port} every {every}; out after {out} failed, back after {back} good")
}

fn tls(it: &UpstreamTls) -> String {
    let trust = match &it.trust {
        Trust::System => "checked by the authorities of the system",
        Trust::Bundle(_) => "checked by authorities of its own",
        Trust::Anyone => "NOT checked",
    };
    let shown = if it.certificate.is_some() { ", a certificate is shown" } else { "" };
    format!("TLS to {:?}, {trust}{shown}", it.server_name)
}

fn locality_lines(it: &LocalityPolicy) -> Vec<String> {
    match it {
        LocalityPolicy::Distribute(all) => all
            .iter()
            .map(|it| {
                let to: Vec<_> =
                    it.to.iter().map(|(place, percent)| format!("{percent} % to {place}")).collect();
                format!("from {}: {}", it.from, to.join(", "))
            })
            .collect(),
        LocalityPolicy::Failover(failover) => {
            let label = |it: &WantedLabel| match &it.value {
                Some(value) => format!("{}={value}", it.name),
                None => it.name.clone(),
            };
            let by = match failover.labels.as_slice() {
                [] => "the same sub-zone, zone, region".to_owned(),
                labels => labels.iter().map(label).collect::<Vec<_>>().join(", "),
            };
            let regions =
                failover.regions.iter().map(|(from, to)| format!("region {to} stands in for {from}"));
            std::iter::once(format!("near endpoints first: {by}")).chain(regions).collect()
        }
    }
}

fn policy_lines(it: &BackendPolicy) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(affinity) = &it.affinity {
        let key = match &affinity.key {
            HashKey::Header(name) => format!("header {name:?}"),
            HashKey::Cookie(cookie) => format!("cookie {:?}", cookie.name),
            HashKey::SourceIp => "the client's address".to_owned(),
            HashKey::Query(name) => format!("query parameter {name:?}"),
        };
        let table = match &affinity.table {
            HashTable::Ring { least } => format!("a ring of at least {least} points"),
            HashTable::Maglev { size } => format!("a table of {size} slots"),
        };
        lines.push(format!("the endpoint that {key} belongs to, by {table}"));
    } else if let Some(how) = it.balancing {
        lines.push(format!("balancing: {}", balancing(how)));
    }
    if let Some(warmup) = &it.warmup {
        lines.push(format!("a new endpoint warms up for {}", duration(warmup.time)));
    }
    if let Some(locality) = &it.locality {
        lines.extend(locality_lines(locality));
    }
    if let Some(tunnel) = &it.tunnel {
        lines.push(match tunnel.is_refused() {
            true => "nothing is sent: the tunnel can't be made".to_owned(),
            false => format!("through the endpoints, which are proxies, to {}:{}", tunnel.host, tunnel.port),
        });
    }
    let terms = &it.connections;
    if let Some(life) = terms.lives_for {
        lines.push(format!("a connection is used for at most {}", duration(life)));
    }
    if let Some(most) = terms.requests {
        lines.push(format!("a connection carries at most {most} requests"));
    }
    if terms.speaks_as_client {
        lines.push("HTTP/2 for clients that speak it, HTTP/1.1 for the others".to_owned());
    }
    let circuit = &it.circuit;
    for (bound, what) in [
        (circuit.connections, "connections in use"),
        (circuit.waiting, "requests that wait for one"),
        (circuit.requests, "requests on their way"),
        (circuit.retries, "requests that are tried again"),
    ] {
        lines.extend(bound.map(|bound| format!("at most {bound} {what}")));
    }
    if let Some(budget) = &circuit.retry_budget {
        let share = f64::from(budget.share) / 1_000.0;
        lines.push(format!("at most {share} % of the requests are tried again, and always {}", budget.least));
    }
    if let Some(ejection) = &it.ejection {
        let (base, most) = (duration(ejection.base), ejection.most_percent);
        lines.push(format!("an endpoint that fails is left out for {base}, at most {most} % of them"));
    }
    lines
}

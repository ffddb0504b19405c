//! What of a ServiceEntry's fields is not done, or done but probably not meant.

use crate::destination::subject_name;
use crate::model::{EntryModel, Resolution, is_wildcard, port};
use crate::problem::Severity;
use crate::syntax;
use std::collections::BTreeSet;

/// Words of `ports[].protocol` (Istio).
const PROTOCOLS: [&str; 11] =
    ["HTTP", "HTTP2", "HTTPS", "GRPC", "GRPC-WEB", "TLS", "TCP", "UDP", "MONGO", "MYSQL", "REDIS"];

/// One thing about one field.
#[derive(Debug)]
pub(super) struct Remark {
    pub(super) severity: Severity,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) next_step: &'static str,
}

/// All of them, in the order of the fields.
pub(super) fn judge(entry: &EntryModel) -> Vec<Remark> {
    let mut remarks = Vec::new();
    hosts(entry, &mut remarks);
    addresses(entry, &mut remarks);
    ports(entry, &mut remarks);
    words(entry, &mut remarks);
    endpoints(entry, &mut remarks);
    selector(entry, &mut remarks);
    others(entry, &mut remarks);
    remarks
}

fn error(field: impl Into<String>, message: impl Into<String>, next_step: &'static str) -> Remark {
    Remark { severity: Severity::Error, field: field.into(), message: message.into(), next_step }
}

fn warning(field: impl Into<String>, message: impl Into<String>, next_step: &'static str) -> Remark {
    Remark { severity: Severity::Warning, ..error(field, message, next_step) }
}

fn hosts(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    if entry.hosts.is_empty() {
        remarks.push(error("spec.hosts", "there is no host", "name at least one"));
    }
    for (index, host) in entry.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{index}]");
        if let Err(message) = syntax::hostname(host, true) {
            remarks.push(error(field, message, "no route can name it; write a DNS name or *.NAME"));
        } else if entry.resolution == Resolution::Dynamic && !is_wildcard(host) {
            let message = format!("{host:?} has no wildcard: it is resolved as with DNS");
            remarks.push(Remark { severity: Severity::Note, ..warning(field, message, "") });
        }
    }
}

fn addresses(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    for (index, text) in entry.spec.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        match crate::model::network(text) {
            Err(message) => {
                remarks.push(error(field, message, "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"))
            }
            Ok(network)
                if network.prefix_len() < network.max_prefix_len() && !entry.resolution.takes_networks() =>
            {
                let message = format!("{text:?} is a network, which only resolutions NONE and STATIC take");
                remarks.push(error(field, message, "name single addresses"));
            }
            Ok(_) => {}
        }
    }
}

fn ports(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    if entry.ports.is_empty() {
        remarks.push(error(
            "spec.ports",
            "there is no port, so that nothing can be called",
            "name at least one",
        ));
    }
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (index, it) in entry.ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        if port(it.number).is_none() {
            remarks.push(error(field("number"), format!("{} is no port", it.number), "use 1 to 65535"));
        } else if !numbers.insert(it.number) {
            let message = format!("port {} is there twice; the first counts", it.number);
            remarks.push(error(field("number"), message, "remove one"));
        }
        if let Some(target) = it.target.filter(|it| port(*it).is_none()) {
            remarks.push(error(field("targetPort"), format!("{target} is no port"), "use 1 to 65535"));
        }
        if !it.name.is_empty() && !names.insert(&it.name) {
            let message = format!("two ports have the name {:?}", it.name);
            remarks.push(error(field("name"), message, "give each its own: endpoints and rules name ports"));
        }
        if !PROTOCOLS.contains(&it.protocol.as_str()) {
            let message = format!("protocol {:?} is not known: it is carried as TCP", it.protocol);
            remarks.push(warning(
                field("protocol"),
                message,
                "use HTTP, HTTP2, GRPC, HTTPS, TLS, TCP or UDP",
            ));
        }
    }
}

fn words(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    if let Some(word) =
        entry.spec.location.as_deref().filter(|it| !matches!(*it, "MESH_EXTERNAL" | "MESH_INTERNAL"))
    {
        let message = format!("{word:?} is no location: taken for MESH_EXTERNAL");
        remarks.push(error("spec.location", message, "use MESH_EXTERNAL or MESH_INTERNAL"));
    }
    if entry.resolution == Resolution::Unknown {
        let word = entry.spec.resolution.as_deref().unwrap_or_default();
        let message = format!("resolution {word} is not supported: no route reaches the hosts");
        let next_step = "use NONE, STATIC, DNS, DNS_ROUND_ROBIN or DYNAMIC_DNS";
        remarks.push(error("spec.resolution", message, next_step));
    }
}

fn endpoints(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    let endpoints = &entry.spec.endpoints;
    if endpoints.is_empty() {
        return;
    }
    let word = entry.spec.resolution.as_deref().unwrap_or("NONE");
    if !entry.resolution.has_endpoints() && entry.resolution != Resolution::Unknown {
        let message = format!("endpoints have no effect with resolution {word}");
        remarks.push(error("spec.endpoints", message, "remove them, or use STATIC or DNS"));
    } else if entry.selector().is_some() {
        let message = "endpoints have no effect beside workloadSelector";
        remarks.push(error("spec.endpoints", message, "remove one of the two"));
    } else if entry.resolution == Resolution::RoundRobin && endpoints.len() > 1 {
        let message = "DNS_ROUND_ROBIN takes one endpoint; the first counts";
        remarks.push(error("spec.endpoints", message, "remove the others, or use DNS"));
    }
    let is_elsewhere =
        |it: &&sluice_crds::ServiceEntryEndpoint| it.network.as_deref().is_some_and(|it| !it.is_empty());
    if let Some(index) = endpoints.iter().position(|it| is_elsewhere(&it)) {
        let message = "networks of a mesh are not told apart: the address is called directly";
        let field = format!("spec.endpoints[{index}].network");
        remarks.push(Remark { severity: Severity::Note, ..warning(field, message, "") });
    }
}

fn selector(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    let Some(selector) = entry.selector() else { return };
    if selector.labels.is_empty() {
        let message = "a selector without labels chooses nobody";
        remarks.push(error("spec.workloadSelector.labels", message, "name the labels of the workloads"));
    }
    let word = entry.spec.resolution.as_deref().unwrap_or("NONE");
    if !entry.resolution.has_endpoints() && entry.resolution != Resolution::Unknown {
        let message = format!("workloadSelector has no effect with resolution {word}");
        remarks.push(error("spec.workloadSelector", message, "use resolution STATIC"));
    }
    if entry.spec.location.as_deref() != Some("MESH_INTERNAL") {
        let message = "workloadSelector is for location MESH_INTERNAL (Istio)";
        remarks.push(warning("spec.location", message, "use MESH_INTERNAL"));
    }
}

fn others(entry: &EntryModel, remarks: &mut Vec<Remark>) {
    for (index, text) in entry.spec.export_to.iter().enumerate() {
        let is_namespace = || syntax::hostname(text, false).is_ok() && !text.contains('.');
        if !matches!(text.as_str(), "*" | "." | "~") && !is_namespace() {
            let message = format!("{text:?} is no namespace");
            remarks.push(error(format!("spec.exportTo[{index}]"), message, "use *, ., ~ or a namespace"));
        }
    }
    for (index, text) in entry.spec.subject_alt_names.iter().enumerate() {
        if let Err(message) = subject_name(text) {
            let field = format!("spec.subjectAltNames[{index}]");
            remarks.push(error(field, message, "the name is left out until it is corrected"));
        }
    }
}

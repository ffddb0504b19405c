//! From the object to the model: each field is taken, or noted as a fault.

use super::ServiceDomain;
use super::model::{Blocks, DestinationModel, SubsetModel, Traffic, Way};
use super::read_load::load;
use super::read_locality::check;
use super::read_outlier::ejection;
use super::read_pool::{budget, pool};
use super::read_tls::tls;
use super::values::Faults;
use crate::model::{Meta, host_name, port};
use crate::syntax;
use sluice_crds::{
    ClientTlsSpec, ConnectionPoolSpec, DestinationPolicySpec, DestinationRule, Kind, LoadBalancerSpec,
    OutlierDetectionSpec, SubsetSpec, TunnelSpec,
};
use sluice_ir::{ProxyVersion, Tunnel};
use std::collections::BTreeMap;
use std::net::IpAddr;

impl DestinationModel {
    pub(crate) fn read(it: &DestinationRule, domain: &ServiceDomain) -> Self {
        let meta = Meta::read(Kind::DestinationRule, &it.metadata);
        let spec = &it.spec;
        let mut faults = Faults::default();
        let host = host(&spec.host, &meta.reference.namespace, domain, &mut faults);
        if spec.workload_selector.is_some() {
            faults.refuse(
                "spec.workloadSelector",
                "rules for some workloads only have no effect: gateways are chosen by nobody's labels",
                "remove it, and name the namespaces of the routes in exportTo",
            );
        }
        let is_service = domain.service(&host).is_some();
        let read = |it: &DestinationPolicySpec, field: &str, faults: &mut Faults| {
            traffic(it, is_service, field, faults)
        };
        let top = spec.traffic_policy.as_ref().map(|it| read(it, "spec.trafficPolicy", &mut faults));
        if let Some(top) = &top {
            check(top, None, "spec.trafficPolicy", &mut faults);
        }
        let subsets = spec.subsets.iter().enumerate();
        let subsets =
            subsets.map(|(index, it)| subset(it, index, top.as_ref(), is_service, &mut faults)).collect();
        let mut export_to = spec.export_to.clone();
        export_to.sort();
        export_to.dedup();
        Self {
            meta,
            host,
            export_to,
            has_selector: spec.workload_selector.is_some(),
            top,
            subsets,
            faults: faults.0,
        }
    }
}

/// The whole name: one without a dot is a Service's of the rule's namespace.
fn host(text: &str, namespace: &str, domain: &ServiceDomain, faults: &mut Faults) -> String {
    let name = host_name(text);
    if name == "*" {
        return name;
    }
    let whole = if name.contains('.') { name } else { domain.host_in(&name, namespace) };
    match syntax::hostname(&whole, true) {
        Ok(()) => whole,
        Err(message) => {
            faults.refuse("spec.host", message, "name a Service, or a host of a ServiceEntry");
            String::new()
        }
    }
}

fn subset(
    it: &SubsetSpec,
    index: usize,
    top: Option<&Traffic>,
    is_service: bool,
    faults: &mut Faults,
) -> SubsetModel {
    let field = format!("spec.subsets[{index}]");
    let is_label = !it.name.contains(['.', '*']) && syntax::hostname(&it.name, false).is_ok();
    if !is_label {
        let message = format!("{:?} can't be named by a route", it.name);
        faults.refuse(format!("{field}.name"), message, "use small letters, digits and '-'");
    }
    let inner = format!("{field}.trafficPolicy");
    let traffic = it.traffic_policy.as_ref().map(|it| traffic(it, is_service, &inner, faults));
    if let Some(traffic) = &traffic {
        check(traffic, top, &inner, faults);
    }
    SubsetModel { name: it.name.clone(), labels: it.labels.clone(), traffic }
}

fn traffic(it: &DestinationPolicySpec, is_service: bool, field: &str, faults: &mut Faults) -> Traffic {
    let all = Parts {
        load_balancer: it.load_balancer.as_ref(),
        connection_pool: it.connection_pool.as_ref(),
        outlier_detection: it.outlier_detection.as_ref(),
        tls: it.tls.as_ref(),
        is_service,
    };
    let proxy_header = it.proxy_protocol.as_ref().and_then(|it| match it.version.as_deref() {
        None | Some("V1") => Some(ProxyVersion::V1),
        Some("V2") => Some(ProxyVersion::V2),
        Some(other) => {
            let message = format!("{other:?} is not known");
            faults.refuse(format!("{field}.proxyProtocol.version"), message, "use V1 or V2");
            None
        }
    });
    let mut traffic = Traffic {
        all: all.read(field, faults),
        ports: BTreeMap::new(),
        proxy_header,
        tunnel: it.tunnel.as_ref().map(|it| tunnel(it, &format!("{field}.tunnel"), faults)),
        budget: it.retry_budget.as_ref().map(|it| budget(it, &format!("{field}.retryBudget"), faults)),
    };
    for (index, it) in it.port_level_settings.iter().enumerate() {
        let field = format!("{field}.portLevelSettings[{index}]");
        let parts = Parts {
            load_balancer: it.load_balancer.as_ref(),
            connection_pool: it.connection_pool.as_ref(),
            outlier_detection: it.outlier_detection.as_ref(),
            tls: it.tls.as_ref(),
            is_service,
        };
        let blocks = parts.read(&field, faults);
        let number = it.port.as_ref().map_or(0, |it| it.number);
        match port(number) {
            Some(number) if traffic.ports.contains_key(&number) => {
                faults.refuse(format!("{field}.port"), format!("port {number} is there twice"), "remove one");
            }
            Some(number) => drop(traffic.ports.insert(number, blocks)),
            None => faults.refuse(format!("{field}.port.number"), format!("{number} is no port"), ""),
        }
    }
    traffic
}

fn tunnel(it: &TunnelSpec, field: &str, faults: &mut Faults) -> Way {
    let mut is_good = true;
    let mut refuse = |part: &str, message: String, next_step: &str| {
        is_good = false;
        let message = format!("{message}; requests get 502 meanwhile");
        faults.refuse(format!("{field}.{part}"), message, next_step);
    };
    match it.protocol.as_deref() {
        None | Some("CONNECT") => {}
        Some("POST") => refuse("protocol", "tunnels by POST are not made".to_owned(), "use CONNECT"),
        Some(other) => refuse("protocol", format!("{other:?} is not known"), "use CONNECT"),
    }
    let port = port(it.target_port);
    if port.is_none() {
        refuse("targetPort", format!("{} is no port", it.target_port), "use 1 to 65535");
    }
    let host = host_name(&it.target_host);
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) => host,
        Err(_) => {
            if let Err(message) = syntax::hostname(&host, false) {
                refuse("targetHost", message, "name the host that the proxy is to connect to");
            }
            host
        }
    };
    match port {
        Some(port) if is_good => Way::Through(Tunnel { host, port }),
        _ => Way::Refused,
    }
}

/// What destinations and their ports have alike.
struct Parts<'a> {
    load_balancer: Option<&'a LoadBalancerSpec>,
    connection_pool: Option<&'a ConnectionPoolSpec>,
    outlier_detection: Option<&'a OutlierDetectionSpec>,
    tls: Option<&'a ClientTlsSpec>,
    is_service: bool,
}

impl Parts<'_> {
    fn read(&self, field: &str, faults: &mut Faults) -> Blocks {
        Blocks {
            load: self
                .load_balancer
                .map(|it| load(it, self.is_service, &format!("{field}.loadBalancer"), faults)),
            pool: self.connection_pool.map(|it| pool(it, &format!("{field}.connectionPool"), faults)),
            ejection: self
                .outlier_detection
                .map(|it| ejection(it, &format!("{field}.outlierDetection"), faults)),
            tls: self.tls.map(|it| tls(it, &format!("{field}.tls"), faults)),
        }
    }
}

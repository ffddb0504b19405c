//! The Service of a Gateway: the way to its data planes, and its address.
//!
//! A requested address becomes `loadBalancerIP` or `clusterIPs`, depending on the type (GEP-1762 "Gateway IP"). It
//! never becomes one of `externalIPs`: whoever may write a Gateway could take the traffic of any address in the
//! cluster with those (CVE-2020-8554).

use super::Making;
use serde_json::{Value, json};
use sluice_crds::ServiceType;
use sluice_translate::{PlannedPort, ServicePlan};
use std::net::IpAddr;

/// The Service.
pub(super) fn service(making: &Making<'_>, plan: &ServicePlan, cluster_ips: &[IpAddr]) -> Value {
    let ports: Vec<Value> = making.plan.ports.iter().map(|it| port(it, plan)).collect();
    let mut spec = json!({
        "type": plan.r#type,
        "selector": making.selector(),
        "ports": ports,
    });
    if let Some(policy) = plan.external_traffic_policy {
        spec["externalTrafficPolicy"] = json!(policy);
    }
    match plan.r#type {
        ServiceType::LoadBalancer => {
            if let Some(class) = &plan.load_balancer_class {
                spec["loadBalancerClass"] = json!(class);
            }
            if !plan.load_balancer_source_ranges.is_empty() {
                spec["loadBalancerSourceRanges"] = json!(plan.load_balancer_source_ranges);
            }
            // There is room for one; a load balancer that takes several has an annotation for them.
            if let Some(address) = making.plan.addresses.iter().flatten().next() {
                spec["loadBalancerIP"] = json!(address);
            }
        }
        ServiceType::ClusterIP => {
            if let Some(first) = cluster_ips.first() {
                let families = cluster_ips.iter().map(|it| if it.is_ipv4() { "IPv4" } else { "IPv6" });
                spec["clusterIP"] = json!(first);
                spec["clusterIPs"] = json!(cluster_ips);
                spec["ipFamilies"] = json!(families.collect::<Vec<_>>());
                spec["ipFamilyPolicy"] =
                    json!(if cluster_ips.len() > 1 { "RequireDualStack" } else { "SingleStack" });
            }
        }
        ServiceType::NodePort => {}
    }
    let mut metadata = making.metadata(&making.name);
    if !plan.annotations.is_empty() {
        let mut annotations = making.plan.annotations.clone();
        annotations.extend(plan.annotations.clone());
        metadata["annotations"] = json!(annotations);
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

fn port(it: &PlannedPort, plan: &ServicePlan) -> Value {
    let mut port =
        json!({"name": it.name, "port": it.port, "protocol": it.protocol, "targetPort": it.target});
    if let Some(node_port) = plan.node_ports.get(&it.port) {
        port["nodePort"] = json!(node_port);
    }
    port
}

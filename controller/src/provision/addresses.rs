//! What is known of a Gateway's addresses: from its Service and, where the nodes are the address, from those. Pure.

use serde_json::Value;
use sluice_crds::{ObjectRef, ServiceType};
use sluice_translate::{
    AddressProblem, AddressReason, GatewayAddress, GatewayPlan, Infrastructure, Management,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How many addresses a status can have (Gateway API GatewayStatus.addresses).
const MOST: usize = 16;

/// What there is to know.
pub(super) struct Known<'a> {
    /// The Service on the server.
    pub(super) service: Option<&'a Value>,
    /// The Deployment on the server.
    pub(super) deployment: Option<&'a Value>,
    /// Addresses of the nodes, by node.
    pub(super) nodes: &'a BTreeMap<String, Vec<String>>,
    /// What could not be made, and why.
    pub(super) failure: Option<&'a str>,
    /// Requested cluster IPs that can't be had, and why.
    pub(super) refused: &'a BTreeMap<IpAddr, String>,
}

/// The facts of a Gateway; `None` while nothing can be said.
pub(super) fn facts(plan: &GatewayPlan, known: &Known<'_>) -> Option<Infrastructure> {
    let (addresses, kind) = match &plan.management {
        Management::Unmanaged { addresses, .. } => (addresses.clone(), None),
        Management::Managed(workload) => {
            let kind = workload.service.r#type;
            match known.service {
                Some(service) => (of_service(service, kind, known.nodes), Some(kind)),
                None if known.failure.is_some() => (Vec::new(), Some(kind)),
                None if plan.ports.is_empty() => (Vec::new(), Some(kind)),
                None => return None,
            }
        }
    };
    let is_managed = kind.is_some();
    let failure = known
        .failure
        .map(str::to_owned)
        .or_else(|| known.deployment.and_then(no_pods))
        .filter(|_| is_managed);
    let address_problem = match failure {
        Some(message) => Some(AddressProblem { reason: AddressReason::NoResources, message }),
        None => missing(plan, &addresses, known.refused).or_else(|| unassigned(plan, &addresses, kind)),
    };
    Some(Infrastructure { addresses, address_problem, programmed: false })
}

/// Addresses that reach the Service.
fn of_service(
    service: &Value,
    kind: ServiceType,
    nodes: &BTreeMap<String, Vec<String>>,
) -> Vec<GatewayAddress> {
    let texts: Vec<String> = match kind {
        ServiceType::LoadBalancer => {
            let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            let text = |it: &Value| it["ip"].as_str().or_else(|| it["hostname"].as_str()).map(str::to_owned);
            ingress.into_iter().flatten().filter_map(text).collect()
        }
        ServiceType::ClusterIP => {
            let all = service.pointer("/spec/clusterIPs").and_then(Value::as_array);
            all.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
        }
        ServiceType::NodePort => nodes.values().flatten().cloned().collect(),
    };
    let mut once = BTreeSet::new();
    let addresses = texts.into_iter().filter(|it| !it.is_empty() && it != "None" && once.insert(it.clone()));
    addresses.take(MOST).map(address).collect()
}

fn address(text: String) -> GatewayAddress {
    let kind = if text.parse::<IpAddr>().is_ok() { "IPAddress" } else { "Hostname" };
    GatewayAddress { r#type: kind, value: text }
}

/// A requested address that is not there.
fn missing(
    plan: &GatewayPlan,
    addresses: &[GatewayAddress],
    refused: &BTreeMap<IpAddr, String>,
) -> Option<AddressProblem> {
    let has =
        |wanted: &IpAddr| addresses.iter().any(|it| it.value.parse::<IpAddr>().ok().as_ref() == Some(wanted));
    let gone: Vec<&IpAddr> = plan.addresses.iter().flatten().filter(|it| !has(it)).collect();
    let first = gone.first()?;
    let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
    let given: Vec<&str> = addresses.iter().map(|it| it.value.as_str()).collect();
    let mut message = format!("spec.addresses: {} can not be had", names.join(", "));
    match refused.get(first) {
        Some(why) => message.push_str(&format!(": {why}")),
        None if given.is_empty() => message.push_str(" (nothing is assigned yet)"),
        None => message.push_str(&format!(" (assigned: {})", given.join(", "))),
    }
    message.push_str("; request another address, or none");
    Some(AddressProblem { reason: AddressReason::AddressNotUsable, message })
}

/// No address, or none of the type that was asked for.
fn unassigned(
    plan: &GatewayPlan,
    addresses: &[GatewayAddress],
    kind: Option<ServiceType>,
) -> Option<AddressProblem> {
    let wants_ip = plan.addresses.iter().any(Option::is_none);
    let message = if addresses.is_empty() {
        match kind {
            None => "the GatewayParameters of this Gateway name no address; add spec.addresses".to_owned(),
            Some(_) if plan.ports.is_empty() => "no listener is accepted, so there is no Service".to_owned(),
            Some(ServiceType::LoadBalancer) => {
                "the load balancer has assigned no address yet; a cluster without one needs service.type NodePort or \
                 ClusterIP in the GatewayParameters"
                    .to_owned()
            }
            Some(ServiceType::NodePort) => "no node has an address".to_owned(),
            Some(ServiceType::ClusterIP) => "the Service has no cluster IP".to_owned(),
        }
    } else if wants_ip && !addresses.iter().any(|it| it.r#type == "IPAddress") {
        "spec.addresses asks for an IP address, but only host names are assigned".to_owned()
    } else {
        return None;
    };
    Some(AddressProblem { reason: AddressReason::AddressNotAssigned, message })
}

/// Why the Deployment has no pod at all, if its controller says.
fn no_pods(deployment: &Value) -> Option<String> {
    let status = deployment.get("status")?;
    if status["availableReplicas"].as_u64().unwrap_or(0) > 0 {
        return None;
    }
    let failure = status["conditions"]
        .as_array()?
        .iter()
        .find(|it| it["type"] == "ReplicaFailure" && it["status"] == "True")?;
    let name = deployment.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    Some(format!("Deployment {name:?}: {}", failure["message"].as_str().unwrap_or("no pod can be made")))
}

/// Addresses of a node: those outside first, if it has any.
pub(super) fn of_node(node: &Value) -> Vec<String> {
    let all = node.pointer("/status/addresses").and_then(Value::as_array);
    let of = |kind: &str| -> Vec<String> {
        let fit = all.into_iter().flatten().filter(|it| it["type"] == kind);
        fit.filter_map(|it| it["address"].as_str().map(str::to_owned)).collect()
    };
    let external = of("ExternalIP");
    if external.is_empty() { of("InternalIP") } else { external }
}

/// Whether a Gateway's address is that of the nodes.
pub(super) fn needs_nodes(plan: &GatewayPlan) -> bool {
    matches!(&plan.management, Management::Managed(it) if it.service.r#type == ServiceType::NodePort)
}

/// For logs.
pub(super) fn told(gateway: &ObjectRef, facts: &Infrastructure) {
    let addresses: Vec<&str> = facts.addresses.iter().map(|it| it.value.as_str()).collect();
    let problem = facts.address_problem.as_ref().map_or("", |it| it.message.as_str());
    tracing::info!(%gateway, ?addresses, problem, "addresses of a Gateway");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Known, facts, of_node};
    use serde_json::{Value, json};
    use sluice_crds::{Kind, ObjectRef, ServiceType};
    use sluice_translate::{GatewayAddress, GatewayPlan, Management, PlannedPort, Workload};
    use std::collections::BTreeMap;

    fn plan(kind: ServiceType, requested: &[&str]) -> GatewayPlan {
        let mut workload = Workload::default();
        workload.service.r#type = kind;
        GatewayPlan {
            reference: ObjectRef::new(Kind::Gateway, "edge", "web"),
            uid: None,
            generation: None,
            class: "sluice".to_owned(),
            is_accepted: true,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            addresses: requested.iter().map(|it| it.parse().ok()).collect(),
            ports: vec![PlannedPort {
                name: "http-80".to_owned(),
                port: 80,
                protocol: sluice_translate::Transport::Tcp,
                target: 10_080,
            }],
            management: Management::Managed(Box::new(workload)),
        }
    }

    /// Addresses, and the problem with the words up to the first ";".
    fn told(
        plan: &GatewayPlan,
        service: Option<Value>,
        failure: Option<&str>,
    ) -> Option<(Vec<String>, String)> {
        let nodes = BTreeMap::from([
            ("a".to_owned(), vec!["192.0.2.1".to_owned()]),
            ("b".to_owned(), vec!["192.0.2.2".to_owned()]),
        ]);
        let refused = BTreeMap::from([("10.0.0.9".parse().unwrap(), "is taken".to_owned())]);
        let known =
            Known { service: service.as_ref(), deployment: None, nodes: &nodes, failure, refused: &refused };
        let facts = facts(plan, &known)?;
        let addresses = facts.addresses.iter().map(|it| format!("{} {}", it.r#type, it.value)).collect();
        let problem = facts.address_problem.map(|it| format!("{}: {}", it.reason.word(), it.message));
        Some((addresses, problem.unwrap_or_default()))
    }

    fn balanced(ingress: Value) -> Option<Value> {
        Some(json!({"status": {"loadBalancer": {"ingress": ingress}}}))
    }

    fn some(addresses: &[&str], problem: &str) -> Option<(Vec<String>, String)> {
        Some((addresses.iter().map(|it| (*it).to_owned()).collect(), problem.to_owned()))
    }

    #[test]
    fn each_type_of_service_has_its_addresses() {
        let all = balanced(json!([{"ip": "192.0.2.7"}, {"hostname": "lb.example"}]));
        let plan_of = |kind| plan(kind, &[]);
        assert_eq!(
            told(&plan_of(ServiceType::LoadBalancer), all, None),
            some(&["IPAddress 192.0.2.7", "Hostname lb.example"], "")
        );
        let inside = Some(json!({"spec": {"clusterIPs": ["10.0.0.1", "fd00::1"]}}));
        assert_eq!(
            told(&plan_of(ServiceType::ClusterIP), inside, None),
            some(&["IPAddress 10.0.0.1", "IPAddress fd00::1"], "")
        );
        let nodes = some(&["IPAddress 192.0.2.1", "IPAddress 192.0.2.2"], "");
        assert_eq!(told(&plan_of(ServiceType::NodePort), Some(json!({})), None), nodes);
        let mut unmanaged = plan_of(ServiceType::LoadBalancer);
        let address = GatewayAddress { r#type: "Hostname", value: "mine.example".to_owned() };
        unmanaged.management = Management::Unmanaged { service_account: None, addresses: vec![address] };
        assert_eq!(told(&unmanaged, None, None), some(&["Hostname mine.example"], ""));
    }

    #[test]
    fn nothing_is_said_before_the_service_is_there_unless_it_can_not_be() {
        let plan = plan(ServiceType::LoadBalancer, &[]);
        assert_eq!(told(&plan, None, None), None);
        assert_eq!(told(&plan, None, Some("quota")), some(&[], "NoResources: quota"));
        let (addresses, problem) = told(&plan, balanced(json!([])), None).unwrap();
        assert!(
            addresses.is_empty() && problem.starts_with("AddressNotAssigned: the load balancer"),
            "{problem}"
        );
    }

    #[test]
    fn a_requested_address_must_be_among_those_that_are_given() {
        let wanted = plan(ServiceType::LoadBalancer, &["192.0.2.7"]);
        assert_eq!(
            told(&wanted, balanced(json!([{"ip": "192.0.2.7"}])), None),
            some(&["IPAddress 192.0.2.7"], "")
        );
        let (_, problem) = told(&wanted, balanced(json!([{"ip": "192.0.2.8"}])), None).unwrap();
        assert!(
            problem.starts_with(
                "AddressNotUsable: spec.addresses: 192.0.2.7 can not be had (assigned: 192.0.2.8)"
            ),
            "{problem}"
        );
        let (_, problem) = told(&wanted, balanced(json!([])), None).unwrap();
        assert!(problem.starts_with("AddressNotUsable"), "{problem}");
        let inside = plan(ServiceType::ClusterIP, &["10.0.0.9"]);
        let (_, problem) = told(&inside, Some(json!({"spec": {"clusterIPs": ["10.0.0.1"]}})), None).unwrap();
        assert!(problem.contains("10.0.0.9 can not be had: is taken"), "{problem}");
        let any = plan(ServiceType::LoadBalancer, &["any"]);
        let (_, problem) = told(&any, balanced(json!([{"hostname": "lb.example"}])), None).unwrap();
        assert!(problem.starts_with("AddressNotAssigned: spec.addresses asks for an IP"), "{problem}");
    }

    #[test]
    fn a_deployment_that_can_make_no_pod_is_told_in_its_controllers_words() {
        let plan = plan(ServiceType::ClusterIP, &[]);
        let service = json!({"spec": {"clusterIPs": ["10.0.0.1"]}});
        let failing = |available: u32| {
            json!({"metadata": {"name": "web-sluice"}, "status": {"availableReplicas": available, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}]}})
        };
        let problem = |deployment: &Value| {
            let known = Known {
                service: Some(&service),
                deployment: Some(deployment),
                nodes: &BTreeMap::new(),
                failure: None,
                refused: &BTreeMap::new(),
            };
            facts(&plan, &known).unwrap().address_problem.map(|it| it.message)
        };
        assert_eq!(problem(&failing(0)).unwrap(), "Deployment \"web-sluice\": violates PodSecurity");
        assert_eq!(problem(&failing(1)), None, "it serves all the same");
    }

    #[test]
    fn a_node_is_reached_from_outside_first() {
        let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
        let inside = address("InternalIP", "10.0.0.1");
        let node = |addresses: Value| json!({"status": {"addresses": addresses}});
        assert_eq!(of_node(&node(json!([inside, address("Hostname", "n")]))), ["10.0.0.1"]);
        assert_eq!(of_node(&node(json!([inside, address("ExternalIP", "192.0.2.1")]))), ["192.0.2.1"]);
    }
}

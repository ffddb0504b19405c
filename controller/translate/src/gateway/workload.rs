//! GatewayParameters: from the object to what runs a Gateway in a cluster.

use super::plan::{Amount, Autoscaling, Disruption, Management, ServicePlan, Workload};
use crate::model::ParametersModel;
use crate::problem::{Problem, Problems, Severity};
use crate::status::GatewayAddress;
use crate::syntax;
use sluice_crds::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sluice_crds::{
    AddressSpec, AddressType, AutoscalingSpec, DisruptionSpec, GatewayParametersSpec, ServiceSpec,
    ServiceType,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Whether the object says anything of its deployment.
pub(super) fn is_set(spec: &GatewayParametersSpec) -> bool {
    spec.managed.is_some()
        || spec.service_account.is_some()
        || !spec.addresses.is_empty()
        || is_workload_set(spec)
}

fn is_workload_set(spec: &GatewayParametersSpec) -> bool {
    spec.deployment.is_some()
        || spec.service.is_some()
        || spec.autoscaling.is_some()
        || spec.disruption.is_some()
        || spec.patches.is_some()
}

/// What runs the Gateway, and what is wrong with the object.
pub(super) fn read(model: &ParametersModel) -> (Management, Vec<Problem>) {
    let mut problems = Problems::of(&model.reference);
    let spec = &model.spec;
    let management = if spec.managed == Some(false) {
        if is_workload_set(spec) {
            problems.error(
                "spec.managed",
                "nothing is made for the Gateway, so deployment, service, autoscaling, disruption and patches have \
                 no effect",
                "remove them, or managed: false",
            );
        }
        let addresses = spec.addresses.iter().enumerate();
        Management::Unmanaged {
            service_account: spec.service_account.clone(),
            addresses: addresses.filter_map(|(index, it)| address(index, it, &mut problems)).collect(),
        }
    } else {
        if spec.service_account.is_some() || !spec.addresses.is_empty() {
            problems.error(
                "spec.managed",
                "serviceAccount and addresses are those of a data plane that runs already",
                "add managed: false, or remove them",
            );
        }
        Management::Managed(Box::new(workload(spec, &mut problems)))
    };
    (management, problems.into_list())
}

fn address(index: usize, it: &AddressSpec, problems: &mut Problems) -> Option<GatewayAddress> {
    let (kind, judged) = match it.r#type.unwrap_or(AddressType::IPAddress) {
        AddressType::IPAddress => (
            "IPAddress",
            it.value.parse::<IpAddr>().map(drop).map_err(|_| format!("{:?} is no IP address", it.value)),
        ),
        AddressType::Hostname => ("Hostname", syntax::hostname(&it.value, false)),
    };
    match judged {
        Ok(()) => Some(GatewayAddress { r#type: kind, value: it.value.clone() }),
        Err(message) => {
            problems.error(format!("spec.addresses[{index}]"), message, "");
            None
        }
    }
}

fn workload(spec: &GatewayParametersSpec, problems: &mut Problems) -> Workload {
    let deployment = spec.deployment.as_ref();
    let replicas = deployment.and_then(|it| it.replicas);
    if replicas.is_some() && spec.autoscaling.is_some() {
        problems.error(
            "spec.deployment.replicas",
            "the autoscaler decides how many data planes run",
            "remove replicas, or autoscaling",
        );
    }
    Workload {
        replicas: replicas
            .and_then(|it| number(it, (0, 1_000), "spec.deployment.replicas", problems))
            .filter(|_| spec.autoscaling.is_none()),
        image: deployment.and_then(|it| it.image.clone()),
        resources: deployment.and_then(|it| it.resources.clone()),
        service: spec.service.as_ref().map(|it| service(it, problems)).unwrap_or_default(),
        autoscaling: spec.autoscaling.as_ref().and_then(|it| autoscaling(it, problems)),
        disruption: spec.disruption.as_ref().and_then(|it| disruption(it, problems)),
        patches: spec.patches.clone(),
    }
}

fn service(spec: &ServiceSpec, problems: &mut Problems) -> ServicePlan {
    let kind = spec.r#type.unwrap_or(ServiceType::LoadBalancer);
    let mut only = |field: &str, is_set: bool, is_fit: bool, kinds: &str| {
        if is_set && !is_fit {
            problems.error(
                format!("spec.service.{field}"),
                format!("has no meaning for a Service of type {kind:?}"),
                format!("remove it, or use type {kinds}"),
            );
        }
    };
    let is_balanced = kind == ServiceType::LoadBalancer;
    let is_outside = kind != ServiceType::ClusterIP;
    only("loadBalancerClass", spec.load_balancer_class.is_some(), is_balanced, "LoadBalancer");
    only(
        "loadBalancerSourceRanges",
        !spec.load_balancer_source_ranges.is_empty(),
        is_balanced,
        "LoadBalancer",
    );
    only(
        "externalTrafficPolicy",
        spec.external_traffic_policy.is_some(),
        is_outside,
        "LoadBalancer or NodePort",
    );
    only("nodePorts", !spec.node_ports.is_empty(), is_outside, "LoadBalancer or NodePort");
    for (index, range) in spec.load_balancer_source_ranges.iter().enumerate() {
        if !is_network(range) {
            problems.error(
                format!("spec.service.loadBalancerSourceRanges[{index}]"),
                format!("{range:?} is no network"),
                "write it as 192.0.2.0/24 or 2001:db8::/32",
            );
        }
    }
    let mut node_ports = BTreeMap::new();
    for (index, it) in spec.node_ports.iter().enumerate() {
        let field = format!("spec.service.nodePorts[{index}]");
        let port = number(it.port, (1, 65_535), &format!("{field}.port"), problems);
        let node_port = number(it.node_port, (1, 65_535), &format!("{field}.nodePort"), problems);
        let (Some(port), Some(node_port)) = (port, node_port) else { continue };
        if node_ports.insert(port, node_port).is_some() {
            problems.error(format!("{field}.port"), format!("{port} is named before"), "name each port once");
        }
    }
    ServicePlan {
        r#type: kind,
        external_traffic_policy: spec.external_traffic_policy,
        annotations: spec.annotations.clone(),
        load_balancer_class: spec.load_balancer_class.clone(),
        load_balancer_source_ranges: spec.load_balancer_source_ranges.clone(),
        node_ports,
    }
}

/// `192.0.2.0/24`.
fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|it| it <= most)
}

fn autoscaling(spec: &AutoscalingSpec, problems: &mut Problems) -> Option<Autoscaling> {
    let max: u32 = number(spec.max_replicas, (1, 1_000), "spec.autoscaling.maxReplicas", problems)?;
    // The default bows to a smaller maximum.
    let min = match spec.min_replicas {
        Some(min) => number(min, (1, 1_000), "spec.autoscaling.minReplicas", problems)?,
        None => max.min(2),
    };
    if min > max {
        problems.error(
            "spec.autoscaling.minReplicas",
            format!("{min} is more than maxReplicas ({max})"),
            "exchange them",
        );
        return None;
    }
    let percent = spec.cpu_utilization_percent.unwrap_or(75);
    Some(Autoscaling {
        min_replicas: min,
        max_replicas: max,
        cpu_utilization_percent: number(
            percent,
            (1, 1_000),
            "spec.autoscaling.cpuUtilizationPercent",
            problems,
        )?,
    })
}

fn disruption(spec: &DisruptionSpec, problems: &mut Problems) -> Option<Disruption> {
    match (&spec.min_available, &spec.max_unavailable) {
        (Some(it), None) => {
            amount(it, "spec.disruption.minAvailable", problems).map(Disruption::MinAvailable)
        }
        (None, Some(it)) => {
            amount(it, "spec.disruption.maxUnavailable", problems).map(Disruption::MaxUnavailable)
        }
        (None, None) | (Some(_), Some(_)) => {
            problems.error("spec.disruption", "needs minAvailable or maxUnavailable, not both", "");
            None
        }
    }
}

fn amount(it: &IntOrString, field: &str, problems: &mut Problems) -> Option<Amount> {
    match it {
        IntOrString::Int(count) => number(i64::from(*count), (0, 1_000), field, problems).map(Amount::Count),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|it| it.parse::<u8>().ok()).filter(|it| *it <= 100);
            if percent.is_none() {
                problems.error(field, format!("{text:?} is no share"), "write a number, or a share as 50%");
            }
            percent.map(Amount::Percent)
        }
    }
}

fn number<T: TryFrom<i64>>(
    number: i64,
    (low, high): (i64, i64),
    field: &str,
    problems: &mut Problems,
) -> Option<T> {
    let fit = T::try_from(number).ok().filter(|_| (low..=high).contains(&number));
    if fit.is_none() {
        problems.add(
            Severity::Error,
            field,
            format!("{number} is out of range"),
            format!("use {low} to {high}"),
        );
    }
    fit
}

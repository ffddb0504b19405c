//! `sluice egress lockdown`: a NetworkPolicy that closes the ways around an egress gateway.
//!
//! The pods of a namespace then reach pods of the cluster, among them the egress gateway, and nothing outside: no address
//! of the internet, no node, no metadata service of a cloud. Where the gateway is named, they reach it, each other and the
//! cluster's DNS, and no other pods either: those of a namespace that is not locked could go outside for them.

use crate::cluster::{self, ClusterArgs};
use crate::install::{Applier, Manifest};
use crate::output;
use serde_json::{Value, json};
use sluice_controller::names::{GATEWAY_NAME_LABEL, label_value};
use std::net::IpAddr;
use std::process::ExitCode;

/// Name of the policy.
const NAME: &str = "sluice-egress-lockdown";
/// Label that every namespace has, with its name (Kubernetes, well-known labels).
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Where the pods of the cluster's DNS are, and the label that they have whatever serves it.
const DNS_NAMESPACE: &str = "kube-system";
const DNS_LABEL: (&str, &str) = ("k8s-app", "kube-dns");
/// Port of DNS.
const DNS_PORT: u16 = 53;

/// Control what leaves a cluster.
#[derive(clap::Args, Clone, Debug)]
pub struct EgressArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    Lockdown(LockdownArgs),
}

/// Close the ways around the egress gateway: pods of a namespace reach pods of the cluster, and nothing outside.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
The network plugin of the cluster must heed NetworkPolicies. kubectl delete networkpolicy sluice-egress-lockdown undoes it.

Exit status: 0 applied or printed, 2 the cluster can't be asked or refuses.

Examples:
  sluice egress lockdown shop --dry-run
  sluice egress lockdown shop --gateway egress/egress  # no other namespace's pods but that gateway's
  sluice egress lockdown shop --dns 169.254.20.10      # where a DNS cache of the node answers")]
pub struct LockdownArgs {
    /// Namespace whose pods are locked.
    #[arg(value_name = "NAMESPACE")]
    pub namespace: String,
    /// Print the policy as YAML and apply nothing; needs no cluster.
    #[arg(long)]
    pub dry_run: bool,
    /// The egress gateway: of the pods of other namespaces only its own may be reached, and those of the cluster's DNS.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = gateway_name)]
    pub gateway: Option<GatewayName>,
    /// Address of a DNS server that is no pod; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Take fields over that somebody else has set.
    #[arg(long)]
    pub force_conflicts: bool,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

fn gateway_name(text: &str) -> Result<GatewayName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(GatewayName { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("write NAMESPACE/NAME of the Gateway".to_owned()),
    }
}

/// Runs the subcommand.
pub fn run(args: &EgressArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Lockdown(args) => lockdown(args),
    }
}

fn lockdown(args: &LockdownArgs) -> anyhow::Result<ExitCode> {
    let policy = Manifest(policy(&args.namespace, args.gateway.as_ref(), &args.dns));
    if args.dry_run {
        output::print(&serde_saphyr::to_string(&policy.0)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = cluster::block_on(async {
        Applier::new(args.cluster.client().await?, args.force_conflicts).apply(&policy).await
    })?;
    output::print(&format!("{outcome} {}\n", policy.title()))?;
    Ok(ExitCode::SUCCESS)
}

/// The policy of a namespace.
fn policy(namespace: &str, gateway: Option<&GatewayName>, dns: &[IpAddr]) -> Value {
    let port = |protocol: &str| json!({"protocol": protocol, "port": DNS_PORT});
    let dns_ports = [port("UDP"), port("TCP")];
    let of_namespace = |name: &str| json!({"matchLabels": {NAMESPACE_LABEL: name}});
    let mut pods = json!({});
    let mut rules = match gateway {
        // Pods of every namespace, and so what is outside of all of them is not meant.
        None => vec![json!({"to": [{"namespaceSelector": {}}]})],
        Some(it) => {
            let name = label_value(&it.name);
            if it.namespace == namespace {
                // The gateway itself must get out.
                let others = json!({"key": GATEWAY_NAME_LABEL, "operator": "NotIn", "values": [name]});
                pods = json!({"matchExpressions": [others]});
            }
            let gateway = json!({"matchLabels": {GATEWAY_NAME_LABEL: name}});
            let dns = json!({"matchLabels": {DNS_LABEL.0: DNS_LABEL.1}});
            vec![
                json!({"to": [{"podSelector": {}}]}),
                json!({"to": [{"namespaceSelector": of_namespace(&it.namespace), "podSelector": gateway}]}),
                json!({
                    "to": [{"namespaceSelector": of_namespace(DNS_NAMESPACE), "podSelector": dns}],
                    "ports": dns_ports,
                }),
            ]
        }
    };
    if !dns.is_empty() {
        let block = |address: &IpAddr| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            json!({"ipBlock": {"cidr": format!("{address}/{bits}")}})
        };
        rules.push(json!({"to": dns.iter().map(block).collect::<Vec<_>>(), "ports": dns_ports}));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "namespace": namespace,
            "name": NAME,
            "labels": {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/managed-by": "sluice-cli"},
        },
        "spec": {"podSelector": pods, "policyTypes": ["Egress"], "egress": rules},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{GatewayName, gateway_name, policy};
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use sluice_controller::names::GATEWAY_NAME_LABEL;

    #[test]
    fn pods_reach_pods_and_dns_servers_that_are_named_and_nothing_else() {
        let value = policy("shop", None, &["169.254.20.10".parse().unwrap(), "fd00::53".parse().unwrap()]);
        let read: NetworkPolicy = serde_json::from_value(value).unwrap();
        assert_eq!(read.metadata.namespace.as_deref(), Some("shop"));
        let spec = read.spec.unwrap();
        assert_eq!(spec.policy_types.as_deref(), Some(&["Egress".to_owned()][..]));
        let rules = spec.egress.unwrap();
        let peers = |rule: usize| rules[rule].to.clone().unwrap();
        assert!(peers(0).iter().all(|it| it.namespace_selector.is_some() && it.ip_block.is_none()));
        let blocks: Vec<_> = peers(1).into_iter().map(|it| it.ip_block.unwrap().cidr).collect();
        assert_eq!(blocks, ["169.254.20.10/32", "fd00::53/128"]);
        assert_eq!(rules[1].ports.as_ref().map(Vec::len), Some(2));
        let alone: NetworkPolicy = serde_json::from_value(policy("shop", None, &[])).unwrap();
        assert_eq!(alone.spec.unwrap().egress.unwrap().len(), 1);
    }

    #[test]
    fn where_the_gateway_is_named_no_other_namespace_is_reached() {
        let gateway = gateway_name("egress/out").unwrap();
        assert_eq!(gateway, GatewayName { namespace: "egress".to_owned(), name: "out".to_owned() });
        assert!(
            gateway_name("out").is_err() && gateway_name("/out").is_err() && gateway_name("a/b/c").is_err()
        );
        let spec = |namespace: &str| {
            let value = policy(namespace, Some(&gateway), &[]);
            serde_json::from_value::<NetworkPolicy>(value).unwrap().spec.unwrap()
        };
        let away = spec("shop");
        let peers: Vec<_> =
            away.egress.unwrap().into_iter().map(|it| (it.to.unwrap().remove(0), it.ports)).collect();
        let label = |selector: &Option<LabelSelector>, name: &str| {
            selector.as_ref().unwrap().match_labels.as_ref().unwrap()[name].clone()
        };
        assert!(peers[0].0.namespace_selector.is_none() && peers[0].1.is_none(), "its own pods");
        assert_eq!(label(&peers[1].0.namespace_selector, "kubernetes.io/metadata.name"), "egress");
        assert_eq!(label(&peers[1].0.pod_selector, GATEWAY_NAME_LABEL), "out");
        assert_eq!(label(&peers[2].0.namespace_selector, "kubernetes.io/metadata.name"), "kube-system");
        assert_eq!(label(&peers[2].0.pod_selector, "k8s-app"), "kube-dns");
        assert_eq!(peers[2].1.as_ref().map(Vec::len), Some(2));
        assert_eq!(away.pod_selector.unwrap_or_default(), LabelSelector::default(), "all pods are locked");
        let home = spec("egress").pod_selector.unwrap().match_expressions.unwrap();
        assert_eq!(
            (home[0].operator.as_str(), home[0].values.clone()),
            ("NotIn", Some(vec!["out".to_owned()]))
        );
    }
}

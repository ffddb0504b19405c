//! `sluice egress lockdown`: a NetworkPolicy that closes the ways around an egress gateway.
//!
//! The pods of a namespace then reach pods of the cluster, among them the egress gateway, and nothing outside: no address
//! of the internet, no node, no metadata service of a cloud.

use crate::cluster::{self, ClusterArgs};
use crate::install::{Applier, Manifest};
use crate::output;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::process::ExitCode;

/// Name of the policy.
const NAME: &str = "sluice-egress-lockdown";
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
  sluice egress lockdown shop --dns 169.254.20.10      # where a DNS cache of the node answers")]
pub struct LockdownArgs {
    /// Namespace whose pods are locked.
    #[arg(value_name = "NAMESPACE")]
    pub namespace: String,
    /// Print the policy as YAML and apply nothing; needs no cluster.
    #[arg(long)]
    pub dry_run: bool,
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

/// Runs the subcommand.
pub fn run(args: &EgressArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Lockdown(args) => lockdown(args),
    }
}

fn lockdown(args: &LockdownArgs) -> anyhow::Result<ExitCode> {
    let policy = Manifest(policy(&args.namespace, &args.dns));
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
fn policy(namespace: &str, dns: &[IpAddr]) -> Value {
    // Pods of every namespace, and so what is outside of all of them is not meant.
    let mut rules = vec![json!({"to": [{"namespaceSelector": {}}]})];
    if !dns.is_empty() {
        let block = |address: &IpAddr| {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            json!({"ipBlock": {"cidr": format!("{address}/{bits}")}})
        };
        let port = |protocol: &str| json!({"protocol": protocol, "port": DNS_PORT});
        rules.push(json!({
            "to": dns.iter().map(block).collect::<Vec<_>>(),
            "ports": [port("UDP"), port("TCP")],
        }));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "namespace": namespace,
            "name": NAME,
            "labels": {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/managed-by": "sluice-cli"},
        },
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::policy;
    use k8s_openapi::api::networking::v1::NetworkPolicy;

    #[test]
    fn pods_reach_pods_and_dns_servers_that_are_named_and_nothing_else() {
        let value = policy("shop", &["169.254.20.10".parse().unwrap(), "fd00::53".parse().unwrap()]);
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
        let alone: NetworkPolicy = serde_json::from_value(policy("shop", &[])).unwrap();
        assert_eq!(alone.spec.unwrap().egress.unwrap().len(), 1);
    }
}

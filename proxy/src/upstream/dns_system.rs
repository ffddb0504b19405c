//! Names as the system resolves them: `/etc/hosts`, then `localhost`, then the servers of `/etc/resolv.conf`.

use super::{Answer, ResolveError};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverOpts};
use hickory_resolver::net::{DnsError, NetError};
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOSTS_FILE: &str = "/etc/hosts";

/// The hosts file has no time to live: an edit is seen this soon.
const HOSTS_TTL: Duration = Duration::from_secs(10);

/// The client of the configured servers: built at the first question, and again after a failure, so that a machine
/// that changed its network finds its new servers.
#[derive(Debug, Default)]
pub(super) struct Servers(Mutex<Option<TokioResolver>>);

pub(super) async fn resolve(servers: Arc<Servers>, host: Arc<str>) -> Result<Answer, ResolveError> {
    let hosts = tokio::fs::read_to_string(HOSTS_FILE).await.unwrap_or_default();
    let name = host.strip_suffix('.').unwrap_or(&host);
    let addresses = listed(&hosts, name);
    if !addresses.is_empty() {
        return Ok(Answer { addresses, ttl: HOSTS_TTL });
    }
    if is_localhost(name) {
        let addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(Answer { addresses, ttl: HOSTS_TTL });
    }
    let client = servers.client()?;
    let result = ask(&client, &host).await;
    if matches!(result, Err(ResolveError::Failed(_))) {
        *servers.0.lock() = None;
    }
    result
}

impl Servers {
    fn client(&self) -> Result<TokioResolver, ResolveError> {
        let mut kept = self.0.lock();
        if let Some(client) = kept.as_ref() {
            return Ok(client.clone());
        }
        let mut builder = TokioResolver::builder_tokio()
            .map_err(|error| ResolveError::Failed(format!("/etc/resolv.conf: {error}")))?;
        set_options(builder.options_mut());
        let client = builder.build().map_err(|error| ResolveError::Failed(error.to_string()))?;
        Ok(kept.insert(client).clone())
    }
}

/// The servers and search domains stay as configured.
pub(super) fn set_options(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    // A name with a dot is meant as it stands; the search domains come after it, not before.
    options.ndots = 1;
    // Each name is asked for by one task, when its time is over.
    options.cache_size = 0;
}

pub(super) async fn ask(client: &TokioResolver, host: &str) -> Result<Answer, ResolveError> {
    match client.lookup_ip(host).await {
        Ok(found) => {
            let ttl = found.valid_until().saturating_duration_since(Instant::now());
            Ok(Answer { addresses: found.iter().collect(), ttl })
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
            Err(ResolveError::NoSuchName { ttl })
        }
        Err(error) => Err(ResolveError::Failed(error.to_string())),
    }
}

/// The addresses of a name in the text of a hosts file.
fn listed(hosts: &str, host: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().filter_map(|line| line.split('#').next());
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host)).then_some(address)
    };
    lines.filter_map(address).collect()
}

/// RFC 6761 §6.3: `localhost` and all below it are the loopback addresses, whatever a server says.
fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{Servers, listed, resolve};
    use std::sync::Arc;

    #[test]
    fn the_hosts_file_gives_all_addresses_of_a_name_and_skips_what_it_cannot_read() {
        let text = "127.0.0.1 localhost here # there\n::1\tLOCALHOST.\n\nfe80::1%lo0 localhost\nx y\n#1.2.3.4 here\n";
        assert_eq!(
            listed(text, "localhost"),
            ["127.0.0.1", "::1"].map(|it| it.parse::<std::net::IpAddr>().unwrap())
        );
        assert_eq!(listed(text, "here").len(), 1);
        assert!(listed(text, "there").is_empty() && listed(text, "y").is_empty());
    }

    #[tokio::test]
    async fn localhost_is_known_without_asking_anybody() {
        for name in ["localhost", "app.localhost"] {
            let answer = resolve(Arc::new(Servers::default()), name.into()).await.unwrap();
            assert!(answer.addresses.iter().all(|address| address.is_loopback()), "{answer:?}");
            assert!(!answer.addresses.is_empty());
        }
    }
}

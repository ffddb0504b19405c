//! Names as the authority will see them: by the issuer's resolvers, or the system's servers. No hosts file, no search
//! domains, no cache: what is looked for has just been changed.

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use std::net::{IpAddr, SocketAddr};

/// Most CNAME records that are followed.
const MAX_ALIASES: usize = 8;

/// Asks recursive servers.
pub(crate) struct Resolver(TokioResolver);

impl Resolver {
    /// With these servers; with those of `/etc/resolv.conf` when there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| format!("DNS: /etc/resolv.conf: {error}"))?
        } else {
            let servers = servers.iter().map(|it| server(*it)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        set(builder.options_mut());
        builder.build().map(Self).map_err(|error| format!("DNS: {error}"))
    }

    /// Addresses of a host; none when there is no such name.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        match self.0.lookup_ip(absolute(host)).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => none(error, host).map(|()| Vec::new()),
        }
    }

    /// Records of one type at a name; none when there is no such name.
    pub(crate) async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<(Name, RData)>, String> {
        match self.0.lookup(absolute(name), kind).await {
            Ok(found) => Ok(found.answers().iter().map(|it| (it.name.clone(), it.data.clone())).collect()),
            Err(error) => none(error, name).map(|()| Vec::new()),
        }
    }

    /// Where a name leads by CNAME records (RFC 8555 §8.4 lets a challenge live in another zone); itself when nowhere.
    pub(crate) async fn followed(&self, name: &str) -> Result<String, String> {
        let mut name = name.to_owned();
        for _ in 0..MAX_ALIASES {
            let records = self.records(&name, RecordType::CNAME).await?;
            let target = records.into_iter().find_map(|(_, data)| match data {
                RData::CNAME(target) => Some(target.0),
                _ => None,
            });
            let Some(target) = target else { return Ok(name) };
            name = target.to_ascii().trim_end_matches('.').to_ascii_lowercase();
        }
        Err(format!("DNS: {name} is the end of more than {MAX_ALIASES} CNAME records"))
    }

    /// The zone that a name is in: the nearest name above it with a SOA record.
    pub(crate) async fn zone(&self, name: &str) -> Result<String, String> {
        let mut rest = name;
        loop {
            let records = self.records(rest, RecordType::SOA).await?;
            if records.iter().any(|(_, data)| matches!(data, RData::SOA(_))) {
                return Ok(rest.to_owned());
            }
            match rest.split_once('.') {
                Some((_, above)) if above.contains('.') => rest = above,
                _ => return Err(format!("DNS: no zone of {name} is found; is the domain registered?")),
            }
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn set(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
}

/// The name with its dot at the end, so that no search domain is put behind it.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// That there is no such record is an answer.
fn none(error: NetError, name: &str) -> Result<(), String> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => Ok(()),
        error => Err(format!("DNS: {name} can't be looked up: {error}")),
    }
}

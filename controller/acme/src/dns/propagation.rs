//! Waits until every authoritative server of a zone shows a value, since the authority may ask any of them.

use super::ask::{ask, texts};
use super::resolver::Resolver;
use super::rfc2136::parse;
use crate::Preflight;
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Servers that are asked at most.
const MAX_SERVERS: usize = 16;

/// Returns when each server of the name's zone shows the value.
pub(crate) async fn wait(
    resolver: &Resolver,
    settings: &Preflight,
    fqdn: &str,
    value: &str,
) -> Result<(), String> {
    let mut missing = servers(resolver, settings.dns_port, fqdn).await?;
    let (name, end, mut pause) = (parse(fqdn)?, Instant::now() + settings.dns_wait, PAUSE);
    loop {
        missing = still_missing(&missing, &name, value).await;
        let Some((server, why)) = missing.first() else { return Ok(()) };
        if Instant::now() + pause > end {
            let seconds = settings.dns_wait.as_secs();
            return Err(format!(
                "DNS: {server} does not show the TXT record of {fqdn} after {seconds} s{why}"
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A server that does not show the value yet, with what it said instead.
type Missing = (SocketAddr, String);

async fn still_missing(servers: &[Missing], name: &Name, value: &str) -> Vec<Missing> {
    let asked = servers.iter().map(async |(server, _)| match ask(*server, name, RecordType::TXT).await {
        Ok(answer) if texts(&answer).any(|text| text == value.as_bytes()) => None,
        Ok(_) => Some((*server, String::new())),
        Err(error) => Some((*server, format!(" ({error})"))),
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// Addresses of the servers that the zone's NS records name.
async fn servers(resolver: &Resolver, port: u16, fqdn: &str) -> Result<Vec<Missing>, String> {
    let zone = resolver.zone(fqdn).await?;
    let mut servers = Vec::new();
    for (_, data) in resolver.records(&zone, RecordType::NS).await? {
        let RData::NS(host) = data else { continue };
        let addresses = resolver.addresses(&host.0.to_ascii()).await?;
        servers.extend(addresses.into_iter().map(|it| (SocketAddr::new(it, port), String::new())));
    }
    servers.truncate(MAX_SERVERS);
    if servers.is_empty() {
        return Err(format!("DNS: no address of a server of zone {zone} is found"));
    }
    Ok(servers)
}

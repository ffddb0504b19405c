//! The TXT record of a DNS-01 challenge: where it goes, set, seen by all servers, removed.

use super::propagation;
use super::resolver::Resolver;
use super::rfc2136::{self, Change};
use super::webhook;
use crate::{Dns01, Issuer};

/// Where the value of a name goes: `_acme-challenge.NAME`, or where its CNAME leads.
pub(crate) async fn place(issuer: &Issuer, host: &str) -> Result<String, String> {
    let name = format!("_acme-challenge.{host}");
    // Without preflight the resolvers of this machine may know nothing of the public zone.
    if !issuer.preflight.enabled {
        return Ok(name);
    }
    Resolver::new(&issuer.resolvers)?.followed(&name).await
}

/// Sets a value and returns when every authoritative server shows it.
pub(crate) async fn set(issuer: &Issuer, solver: &Dns01, fqdn: &str, value: &str) -> Result<(), String> {
    change(solver, fqdn, value, Change::Add).await?;
    if !issuer.preflight.enabled {
        return Ok(());
    }
    propagation::wait(&Resolver::new(&issuer.resolvers)?, &issuer.preflight, fqdn, value).await
}

/// Adds or removes a value.
pub(crate) async fn change(solver: &Dns01, fqdn: &str, value: &str, change: Change) -> Result<(), String> {
    match solver {
        Dns01::Rfc2136(settings) => rfc2136::update(settings, fqdn, value, change).await,
        Dns01::Webhook(settings) => webhook::update(settings, fqdn, value, change).await,
    }
}

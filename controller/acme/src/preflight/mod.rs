//! Looks for our own challenge the way the authority will, before an order is spent on it.
//!
//! For each name: its CAA records, then what its solver needs. HTTP-01 and TLS-ALPN-01 present a probe at the data plane
//! and fetch it at every address that DNS has for the name; DNS-01 finds where its record goes. What this machine can't
//! reach at all for want of a route (IPv6) says nothing about the authority and is passed over.

mod caa;
mod http;
mod tls;

use crate::challenge::{Answer, Challenge, Challenges};
use crate::client::directory::Directory;
use crate::dns::resolver::Resolver;
use crate::dns::{rfc2136, txt};
use crate::order::keys;
use crate::plan::names::{base, is_wildcard};
use crate::plan::solvers;
use crate::trouble::{Retry, Trouble};
use crate::{CertificateKey, Dns01, Issuer, Reason, Scope, Secret, SolverKind, Wanted};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::time::Duration;

/// Longest time for one address.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a look.
enum Seen {
    /// It is ours.
    Ours,
    /// This machine has no way there.
    NoWay,
}

/// Checks every name. The first that fails is told.
pub(crate) async fn check(
    challenges: &dyn Challenges,
    issuer: &Issuer,
    directory: &Directory,
    wanted: &Wanted,
) -> Result<(), Trouble> {
    let resolver = Resolver::new(&issuer.resolvers).map_err(dns)?;
    for name in &wanted.names {
        caa::check(&resolver, &directory.meta.caa_identities, base(name), is_wildcard(name))
            .await
            .map_err(dns)?;
        let able =
            solvers::for_name(issuer, name).map_err(|it| Trouble::new(Reason::Name, Retry::Backoff, it))?;
        match able.first().map(|it| &it.kind) {
            Some(SolverKind::Dns01(solver)) => zone(issuer, solver, base(name)).await.map_err(dns)?,
            Some(kind) => {
                let look = Look {
                    challenges,
                    issuer,
                    resolver: &resolver,
                    scope: &wanted.scope,
                    key: &wanted.key,
                    host: name,
                };
                look.probe(kind).await?;
            }
            None => {}
        }
    }
    Ok(())
}

fn dns(message: String) -> Trouble {
    Trouble::new(Reason::Dns, Retry::Soon, message)
}

/// Whether the place of the record is found, and the server that takes updates has its zone.
async fn zone(issuer: &Issuer, solver: &Dns01, host: &str) -> Result<(), String> {
    let place = txt::place(issuer, host).await?;
    if let Dns01::Rfc2136(settings) = solver {
        rfc2136::zone(settings, &rfc2136::parse(&place)?).await?;
    }
    Ok(())
}

/// A look for one host.
struct Look<'a> {
    challenges: &'a dyn Challenges,
    issuer: &'a Issuer,
    resolver: &'a Resolver,
    scope: &'a Scope,
    key: &'a CertificateKey,
    host: &'a str,
}

impl Look<'_> {
    async fn probe(&self, kind: &SolverKind) -> Result<(), Trouble> {
        let addresses = self.resolver.addresses(self.host).await.map_err(dns)?;
        if addresses.is_empty() {
            let host = self.host;
            let text =
                format!("DNS: {host} has no address; add an A or AAAA record that points to the gateway");
            return Err(dns(text));
        }
        let challenge = self.challenge(kind)?;
        self.challenges.present(self.scope, &challenge).await?;
        let found = self.look(&addresses, &challenge).await;
        self.challenges.withdraw(self.scope, &challenge.id()).await;
        found.map_err(|text| Trouble::new(Reason::Challenge, Retry::Soon, text))
    }

    /// The id is the same at each look, so that a probe of an engine that died is replaced and withdrawn by the next
    /// one; what it answers is new each time.
    fn challenge(&self, kind: &SolverKind) -> Result<Challenge, Trouble> {
        let random: [u8; 32] = rand::random();
        let host = self.host.to_owned();
        let answer = match kind {
            SolverKind::TlsAlpn01 => keys::tls_alpn(&host, &random)
                .map_err(|error| Trouble::new(Reason::Challenge, Retry::Soon, error))?,
            SolverKind::Http01 | SolverKind::Dns01(_) => {
                let token = Sha256::digest(format!("probe {} {host}", self.key));
                let key_authorization = Secret::new(URL_SAFE_NO_PAD.encode(random));
                Answer::Http { token: URL_SAFE_NO_PAD.encode(token), key_authorization }
            }
        };
        Ok(Challenge { host, answer })
    }

    async fn look(&self, addresses: &[IpAddr], challenge: &Challenge) -> Result<(), String> {
        for address in addresses {
            let seen = match &challenge.answer {
                Answer::Http { token, key_authorization } => {
                    let at = (*address, self.issuer.preflight.http_port).into();
                    http::look(at, self.host, token, key_authorization.expose()).await
                }
                Answer::TlsAlpn { certificate, .. } => {
                    let at = (*address, self.issuer.preflight.tls_port).into();
                    tls::look(at, self.host, certificate).await
                }
            };
            if matches!(seen?, Seen::NoWay) {
                tracing::debug!(host = self.host, %address, "no way to this address from here; it is not checked");
            }
        }
        Ok(())
    }
}

/// Errors that say that this machine has no way to the address, as without IPv6.
fn is_no_way(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::AddrNotAvailable
    )
}

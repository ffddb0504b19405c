//! Takes down what was set up for challenges, also by an engine that is no more.

use super::record::{Kept, Placed};
use crate::dns::rfc2136::Change;
use crate::dns::txt;
use crate::plan::solvers;
use crate::trouble::Trouble;
use crate::{CertificateKey, Challenges, Dns01, Issuer, SolverKind, Store};
use std::time::Duration;

/// Longest time for one record: what stays in the zone does no harm.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Takes down everything that the record names. What can't be is told and left.
pub(super) async fn placed(challenges: &dyn Challenges, issuer: &Issuer, placed: &[Placed]) {
    for each in placed {
        match each {
            Placed::Txt { name, fqdn, value } => text(issuer, name, fqdn, value).await,
            Placed::Http { .. } | Placed::TlsAlpn { .. } => {
                if let Some((scope, id)) = each.challenge() {
                    challenges.withdraw(&scope, &id).await;
                }
            }
        }
    }
}

/// Gives up the order of a certificate that is not wanted any more. The authority ends it by itself.
pub(crate) async fn abandon(
    store: &dyn Store,
    challenges: &dyn Challenges,
    issuer: &Issuer,
    key: &CertificateKey,
) -> Result<(), Trouble> {
    let mut kept = Kept::load(store, key).await?;
    placed(challenges, issuer, &kept.record.placed).await;
    kept.delete().await
}

async fn text(issuer: &Issuer, name: &str, fqdn: &str, value: &str) {
    let left = |error: &str| tracing::warn!(fqdn, error, "a TXT record of a challenge is left in its zone");
    let Some(solver) = dns_solver(issuer, name) else {
        return left("the issuer has no DNS-01 solver for it any more");
    };
    match tokio::time::timeout(TIMEOUT, txt::change(solver, fqdn, value, Change::Remove)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => left(&error),
        Err(_) => left("it takes too long"),
    }
}

fn dns_solver<'a>(issuer: &'a Issuer, name: &str) -> Option<&'a Dns01> {
    solvers::for_name(issuer, name).ok()?.into_iter().find_map(|it| match &it.kind {
        SolverKind::Dns01(solver) => Some(solver),
        SolverKind::Http01 | SolverKind::TlsAlpn01 => None,
    })
}

//! Which listener takes the request.

use super::places::Places;
use super::report::{Answer, Explanation, Part};
use super::{Asked, describe};
use sluice_ir::{HostPattern, Listener, Snapshot};
use sluice_proxy::telemetry::Outcome;
use std::sync::Arc;

/// The listener by port, address, server name and host, as the proxy chooses it; else the answer.
pub(super) fn choose(
    snapshot: &Snapshot,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Arc<Listener>, Answer> {
    let of_port: Vec<_> =
        snapshot.listeners.values().filter(|it| asked.means_port(it.port)).cloned().collect();
    if of_port.is_empty() {
        explanation.near = parts(snapshot.listeners.values(), places);
        let hint =
            if asked.port_offset == 0 { "; a gateway with --port-offset needs it here too" } else { "" };
        return Err(Answer::unreachable(format!("no listener has port {}{hint}", asked.port)));
    }
    let reachable = of_address(&of_port, asked, explanation);
    if reachable.is_empty() {
        explanation.near = parts(of_port.iter(), places);
        return Err(Answer::unreachable("no listener of this port has this address"));
    }
    if let Some(listener) = reachable.iter().find(|it| it.protocol.is_tls() != asked.is_tls) {
        explanation.listener = Some(part(listener, places));
        return Err(if asked.is_tls {
            Answer::unreachable("the listener speaks plain HTTP: the TLS handshake fails; use http://")
        } else {
            Answer::refused(Outcome::BadRequest, "the listener speaks HTTPS; use https://")
        });
    }
    if asked.is_tls {
        // RFC 6066 §3: an address is no server name.
        let server_name = if asked.address.is_some_and(|it| it.to_string() == asked.server_name) {
            ""
        } else {
            asked.server_name.as_str()
        };
        let Some(handshake) = best(&reachable, server_name) else {
            explanation.near = parts(reachable.iter(), places);
            return Err(Answer::unreachable(format!(
                "no listener of this port answers for the server name {:?}: TLS alert unrecognized_name",
                asked.server_name
            )));
        };
        let by_host = best(&reachable, &asked.host);
        if by_host.is_none_or(|it| it.key != handshake.key) {
            explanation.listener = Some(part(handshake, places));
            let text = format!(
                "the connection was opened for {:?}, which belongs to another listener than {:?}",
                asked.server_name, asked.host
            );
            return Err(Answer::refused(Outcome::Misdirected, text));
        }
    }
    match best(&reachable, &asked.host) {
        Some(listener) => {
            explanation.listener = Some(part(listener, places));
            Ok(listener.clone())
        }
        None => {
            explanation.near = parts(reachable.iter(), places);
            let text = format!("no listener of this port answers for the host {:?}", asked.host);
            Err(Answer::refused(Outcome::NoListener, text))
        }
    }
}

/// Listeners that the connection can reach. Gateways may share a port by having addresses of their own; without an
/// address in the question the one that fits the host best is meant.
fn of_address(of_port: &[Arc<Listener>], asked: &Asked, explanation: &mut Explanation) -> Vec<Arc<Listener>> {
    let addressed =
        of_port.iter().any(|it| it.addresses != of_port.first().map_or(&[][..], |it| &it.addresses));
    match asked.address {
        Some(address) => {
            let named = of_port.iter().any(|it| it.addresses.contains(&address));
            let fits = |it: &&Arc<Listener>| {
                if named { it.addresses.contains(&address) } else { it.addresses.is_empty() }
            };
            let fitting: Vec<_> = of_port.iter().filter(fits).cloned().collect();
            // Where no listener has an address of its own, any address will do.
            if fitting.is_empty() && !addressed { of_port.to_vec() } else { fitting }
        }
        None if addressed => {
            let Some(chosen) = best(of_port, &asked.host).or(of_port.first()).cloned() else {
                return Vec::new();
            };
            let addresses: Vec<_> = chosen.addresses.iter().map(ToString::to_string).collect();
            let shown =
                if addresses.is_empty() { "the default address".to_owned() } else { addresses.join(", ") };
            explanation
                .notes
                .push(format!("Gateways share this port; taken for {shown}, ask with --address for another"));
            of_port.iter().filter(|it| it.addresses == chosen.addresses).cloned().collect()
        }
        None => of_port.to_vec(),
    }
}

/// The most specific listener for a host: exact, then the longest wildcard, then every host.
fn best<'a>(listeners: &'a [Arc<Listener>], host: &str) -> Option<&'a Arc<Listener>> {
    listeners.iter().filter(|it| it.hostname.matches(host)).max_by_key(|it| match &it.hostname {
        HostPattern::Any => (0, 0),
        HostPattern::Wildcard(suffix) => (1, suffix.len()),
        HostPattern::Exact(exact) => (2, exact.len()),
    })
}

fn parts<'a>(listeners: impl Iterator<Item = &'a Arc<Listener>>, places: &mut Places<'_>) -> Vec<Part> {
    listeners.take(super::report::MOST_NEAR).map(|it| part(it, places)).collect()
}

fn part(listener: &Listener, places: &mut Places<'_>) -> Part {
    Part::new(describe::listener(listener), places.of(&listener.origin))
}

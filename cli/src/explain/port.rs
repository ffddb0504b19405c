//! Which bound address a connection reaches, in a configuration compiled as the proxy compiles it.

use super::places::Places;
use super::report::{Answer, Explanation, MOST_NEAR, Part};
use super::{Asked, describe, stream};
use sluice_ir::{HostPattern, ListenerProtocol, Sharing, Snapshot};
use sluice_proxy::snapshot::{BindPlan, Compiler, ListenerRuntime, Port, Runtime, StreamPort};
use sluice_proxy::telemetry::{Metrics, Outcome};
use sluice_proxy::upstream::{Resolver, Upstreams};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Where listeners without an address of their own are taken to be.
pub(super) const DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The configuration as requests would read it. Nothing is bound and no name is asked for.
pub(super) fn compile(snapshot: &Snapshot, port_offset: u16) -> Arc<Runtime> {
    let plan = BindPlan { bind: DEFAULT, port_offset, cluster_ports: false, is_captured: false };
    // Outside of a tokio runtime the registry asks for no names.
    let mut compiler = Compiler::new(plan, Upstreams::new(Resolver::system()), Metrics::new());
    compiler.apply(&Snapshot::default().delta_to(snapshot)).runtime
}

/// The port by number and address, when it speaks what the URL says; else the answer.
pub(super) fn choose<'r>(
    runtime: &'r Runtime,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<&'r Arc<Port>, Answer> {
    let mut ports: Vec<_> = runtime.ports.iter().collect();
    ports.sort_by_key(|(address, _)| **address);
    let of_number: Vec<_> = ports
        .iter()
        .filter(|(address, port)| address.port() == asked.port || port.port == asked.port)
        .collect();
    if of_number.is_empty()
        && let Some(port) = carried(runtime, asked)
    {
        explanation.near = stream::listeners(port, places);
        let is_tls = port.listeners().iter().any(|it| it.listener.protocol.sharing() == Sharing::Tls);
        let word = if is_tls { "tls" } else { "tcp" };
        return Err(Answer::unreachable(format!("the port carries connections whole; use {word}://")));
    }
    if of_number.is_empty() {
        explanation.near = listeners(ports.iter().map(|(_, port)| *port), places);
        let hint =
            if asked.port_offset == 0 { "; a gateway with --port-offset needs it here too" } else { "" };
        let proxies = ports.iter().flat_map(|(_, port)| &port.listeners);
        let mut proxies = proxies.filter(|it| it.listener.protocol == ListenerProtocol::ForwardProxy);
        if let Some(proxy) = proxies.next().filter(|_| asked.proxied.is_none()) {
            let port = proxy.listener.port;
            explanation.notes.push(format!("by the forward proxy there: ask with --proxy {port}"));
        }
        return Err(Answer::unreachable(format!("no listener has port {}{hint}", asked.port)));
    }
    let chosen = match asked.address {
        Some(wanted) => {
            let by_address = |wanted| of_number.iter().find(|(address, _)| address.ip() == wanted);
            by_address(wanted).or_else(|| by_address(DEFAULT))
        }
        None => {
            of_number.iter().max_by_key(|(address, port)| (fit(port, &asked.host), address.ip() == DEFAULT))
        }
    };
    let Some((address, port)) = chosen else {
        explanation.near = listeners(of_number.iter().map(|(_, port)| *port), places);
        return Err(Answer::unreachable("no listener of this port has this address"));
    };
    if asked.address.is_none() && of_number.len() > 1 {
        note(address, explanation);
    }
    if port.tls != asked.is_tls {
        explanation.near = listeners([*port].into_iter(), places);
        return Err(if asked.is_tls {
            Answer::unreachable("the port speaks plain HTTP: the TLS handshake fails; use http://")
        } else {
            Answer::refused(Outcome::BadRequest, "the port speaks HTTPS; use https://")
        });
    }
    if asked.is_tls {
        by_server_name(runtime.streams.get(address), port, asked, places, explanation)?;
    }
    Ok(port)
}

/// Whether the server name brings requests. Where connections are carried whole too it decides alone, and whom nobody
/// answers for sees no alert.
fn by_server_name(
    streams: Option<&Arc<StreamPort>>,
    port: &Arc<Port>,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<(), Answer> {
    let nobody = format!("no listener of this port answers for the server name {:?}", asked.server_name);
    let Some(streams) = streams else {
        if port.listener(asked.tls_name().unwrap_or_default()).is_some() {
            return Ok(());
        }
        explanation.near = listeners([port].into_iter(), places);
        return Err(Answer::unreachable(format!("{nobody}: TLS alert unrecognized_name")));
    };
    match streams.listener(asked.tls_name()) {
        Some(it) if matches!(it.listener.protocol, ListenerProtocol::Https(_)) => Ok(()),
        Some(it) => {
            explanation.listener = Some(stream::part(it, places));
            Err(Answer::unreachable("connections with this server name are carried whole; use tls://"))
        }
        None => {
            explanation.near = stream::listeners(streams, places);
            Err(Answer::unreachable(format!("{nobody}: the connection is closed")))
        }
    }
}

/// The port of this number on which connections are carried whole and none brings requests.
fn carried<'r>(runtime: &'r Runtime, asked: &Asked) -> Option<&'r Arc<StreamPort>> {
    let has_number = |port: &StreamPort| port.listeners().iter().any(|it| it.listener.port == asked.port);
    let of_number =
        |(address, port): &(&SocketAddr, &Arc<StreamPort>)| address.port() == asked.port || has_number(port);
    runtime.streams.iter().filter(of_number).min_by_key(|(address, _)| **address).map(|(_, port)| port)
}

fn note(address: &SocketAddr, explanation: &mut Explanation) {
    let shown = address.ip();
    let text = format!("this port has several addresses; taken for {shown}, ask with --address for another");
    explanation.notes.push(text);
}

/// How well a port fits a host.
fn fit(port: &Port, host: &str) -> Option<(u8, usize)> {
    port.listener(host).map(|it| match &it.listener.hostname {
        HostPattern::Any => (0, 0),
        HostPattern::Wildcard(suffix) => (1, suffix.len()),
        HostPattern::Exact(exact) => (2, exact.len()),
    })
}

/// The listeners of these ports.
pub(super) fn listeners<'r>(
    ports: impl Iterator<Item = &'r Arc<Port>>,
    places: &mut Places<'_>,
) -> Vec<Part> {
    ports.flat_map(|port| &port.listeners).take(MOST_NEAR).map(|it| listener(it, places)).collect()
}

/// A listener with its place.
pub(super) fn listener(it: &ListenerRuntime, places: &mut Places<'_>) -> Part {
    Part::new(describe::listener(&it.listener), places.of(&it.listener.origin))
}

//! Connections and datagrams that are carried whole: `tls://HOST:PORT`, `tcp://HOST:PORT`, `udp://HOST:PORT`.

use super::asked::Carrier;
use super::backends;
use super::places::Places;
use super::port::{self, DEFAULT};
use super::report::{Answer, Explanation, MOST_NEAR, Part};
use super::{Asked, describe};
use crate::project::Project;
use sluice_ir::{ListenerProtocol, Sharing, Snapshot, StreamRoute};
use sluice_proxy::snapshot::{Runtime, StreamListener, StreamPort, StreamRuntime};
use sluice_proxy::telemetry::Outcome;
use std::sync::Arc;

/// The way of a stream. Both ends are answers; an early one comes by `?`.
pub(super) fn steps(
    project: &Project,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Answer, Answer> {
    let runtime = port::compile(project.snapshot(), asked.port_offset);
    let port = choose(&runtime, asked, places, explanation)?;
    let in_tls = |it: &Arc<StreamListener>| it.listener.protocol.sharing() == Sharing::Tls;
    if asked.carrier == Carrier::Tcp && port.listeners().iter().all(in_tls) {
        explanation.near = listeners(port, places);
        return Err(Answer::unreachable("the port needs a ClientHello; use tls://"));
    }
    let name = (asked.carrier == Carrier::Tls).then(|| asked.tls_name()).flatten();
    let Some(listener) = port.listener(name) else {
        explanation.near = listeners(port, places);
        let text = match name {
            Some(name) => format!("no listener of this port answers for the server name {name:?}"),
            None => "no listener of this port answers without a server name".to_owned(),
        };
        return Err(Answer::refused(Outcome::NoRoute, format!("{text}: the connection is closed")));
    };
    explanation.listener = Some(part(listener, places));
    fits(listener, asked.carrier)?;
    let Some(route) = listener.route(name) else {
        explanation.notes.extend(super::table::detached(project));
        let text = format!("no route of {} takes it", listener.listener.origin);
        return Err(Answer::refused(Outcome::NoRoute, text));
    };
    explanation.route = Some(Part::new(route.route.origin.to_string(), places.of(&route.route.origin)));
    explanation.matched = Some(Part::new(by(&route.route, listener), None));
    explanation.notes.extend(others(project.snapshot(), listener, route));
    for text in describe::settings(&port.gateway.settings) {
        let position = places.field(&port.gateway.origin, "spec.infrastructure.parametersRef");
        explanation.policies.push(Part::new(text, position));
    }
    let targets = (&route.route.origin, "spec.rules[0]", &*route.route.backends);
    explanation.backends = backends::parts(project.snapshot(), targets, places);
    backends::answer(&explanation.backends)
}

/// The port by number and address; else the answer.
fn choose<'r>(
    runtime: &'r Runtime,
    asked: &Asked,
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<&'r Arc<StreamPort>, Answer> {
    let ports = if asked.carrier == Carrier::Udp { &runtime.datagrams } else { &runtime.streams };
    let mut ports: Vec<_> = ports.iter().collect();
    ports.sort_by_key(|(address, _)| **address);
    let has_number = |port: &StreamPort| port.listeners().iter().any(|it| it.listener.port == asked.port);
    let mut fitting = ports.iter().filter(|(address, port)| address.port() == asked.port || has_number(port));
    let wanted = asked.address.unwrap_or(DEFAULT);
    let first = fitting.clone().find(|(address, _)| address.ip() == wanted).or_else(|| fitting.next());
    if let Some((_, port)) = first {
        return Ok(port);
    }
    let all = ports.iter().flat_map(|(_, port)| listeners(port, places)).take(MOST_NEAR);
    explanation.near = all.collect();
    let word = asked.carrier.word();
    Err(Answer::unreachable(format!("no listener carries {word} on port {}", asked.port)))
}

/// Whether the listener is of what was asked for.
fn fits(listener: &StreamListener, carrier: Carrier) -> Result<(), Answer> {
    match (&listener.listener.protocol, carrier) {
        (ListenerProtocol::TlsPassthrough | ListenerProtocol::TlsTerminate(_), Carrier::Tls)
        | (ListenerProtocol::Tcp, Carrier::Tcp | Carrier::Tls)
        | (ListenerProtocol::Udp, Carrier::Udp) => Ok(()),
        (ListenerProtocol::Https(_), _) => {
            Err(Answer::unreachable("the listener of this server name brings requests; use https://"))
        }
        (ListenerProtocol::TlsPassthrough | ListenerProtocol::TlsTerminate(_), _) => {
            Err(Answer::unreachable("the port needs a ClientHello; use tls://"))
        }
        (ListenerProtocol::ForwardProxy, _) => {
            Err(Answer::unreachable("the port is a forward proxy: clients ask it for a destination"))
        }
        (
            ListenerProtocol::Http | ListenerProtocol::Tcp | ListenerProtocol::Udp | ListenerProtocol::Detect,
            _,
        ) => Err(Answer::unreachable(format!("the port does not carry {}", carrier.word()))),
    }
}

fn by(route: &StreamRoute, listener: &StreamListener) -> String {
    let attachment = route.attachments.iter().find(|it| it.listener == listener.listener.key);
    let hosts: Vec<_> =
        attachment.into_iter().flat_map(|it| it.hostnames.iter()).map(ToString::to_string).collect();
    match listener.listener.protocol {
        ListenerProtocol::Tcp => "every connection".to_owned(),
        ListenerProtocol::Udp => "every datagram".to_owned(),
        _ => format!("server name is one of {}", hosts.join(", ")),
    }
}

/// Routes of the same listener that get nothing, because an older one has all.
fn others(snapshot: &Snapshot, listener: &StreamListener, chosen: &StreamRuntime) -> Vec<String> {
    if !matches!(listener.listener.protocol, ListenerProtocol::Tcp | ListenerProtocol::Udp) {
        return Vec::new();
    }
    let here = |it: &&Arc<StreamRoute>| it.attachments.iter().any(|it| it.listener == listener.listener.key);
    let losers = snapshot.stream_routes.values().filter(here).filter(|it| it.key != chosen.route.key);
    losers
        .take(MOST_NEAR)
        .map(|it| {
            format!("{} is attached too and gets nothing: {} comes first", it.origin, chosen.route.origin)
        })
        .collect()
}

/// The listeners of a port, with their places.
pub(super) fn listeners(port: &StreamPort, places: &mut Places<'_>) -> Vec<Part> {
    port.listeners().iter().take(MOST_NEAR).map(|it| part(it, places)).collect()
}

/// A listener with its place.
pub(super) fn part(it: &StreamListener, places: &mut Places<'_>) -> Part {
    Part::new(describe::listener(&it.listener), places.of(&it.listener.origin))
}

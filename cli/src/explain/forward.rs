//! What a forward proxy does with a destination that its client names: by a target in absolute form, or by CONNECT.

use super::asked::Proxied;
use super::places::Places;
use super::report::{Answer, Explanation, MOST_NEAR, Part};
use super::{Asked, answer, backends, describe, port, table};
use crate::project::Project;
use sluice_ir::{ListenerProtocol, Origin, StreamKind};
use sluice_proxy::http::{Decision, RequestView, decide};
use sluice_proxy::listen::Destination;
use sluice_proxy::snapshot::{ListenerRuntime, Port, Runtime, StreamListener};
use sluice_proxy::telemetry::Outcome;
use std::sync::Arc;

/// `CONNECT api.example.com:443, of the forward proxy on port 3128`.
pub(super) fn request(asked: &Asked) -> String {
    let what = match &asked.proxied {
        Some(it) if it.is_tunnel => format!("CONNECT {}:{}", it.host, it.port),
        _ => format!("{} {}", asked.method, asked.url),
    };
    format!("{what}, of the forward proxy on port {}", asked.port)
}

/// The way of what is asked. Both ends are answers; an early one comes by `?`.
pub(super) fn steps(
    project: &Project,
    (asked, proxied): (&Asked, &Proxied),
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Answer, Answer> {
    let runtime = port::compile(project.snapshot(), asked.port_offset);
    let port = port::choose(&runtime, asked, places, explanation)?;
    let listener = proxy(port).ok_or_else(|| {
        explanation.near = port::listeners([port].into_iter(), places);
        Answer::unreachable("the port is no forward proxy; leave --proxy out")
    })?;
    explanation.listener = Some(port::listener(listener, places));
    if asked.host.trim_matches(['[', ']']) != proxied.host {
        return Err(Answer::refused(Outcome::BadRequest, "the request target's host is not the Host"));
    }
    if proxied.is_tunnel {
        return tunnel(project, (&runtime, port, listener), (asked, proxied), places, explanation);
    }
    let authority = format!("{}:{}", asked.host, proxied.port);
    let view = RequestView {
        method: &asked.method,
        authority: &authority,
        path: &asked.path,
        query: asked.query.as_deref(),
        headers: &asked.headers,
        is_https_target: false,
        server_name: None,
    };
    match decide(port, view) {
        Decision::Rule(matched) => {
            let origin = &matched.found.route.route.origin;
            allowed_by(origin, proxied, explanation)?;
            if matches!(origin.kind, "ServiceEntry" | "Sidecar") {
                let text = format!("{origin} for {}", matched.found.hostname);
                explanation.route = Some(Part::new(text, places.field(origin, field_of(origin))));
            } else {
                table::describe(&matched, places, explanation);
            }
            let snapshot = project.snapshot();
            answer::Chosen { snapshot, asked, port, matched: &matched }.answer(places, explanation)
        }
        Decision::Answer(Outcome::EgressRefused) => {
            explanation.near = table::hosts(&listener.table, places);
            Err(nobody(proxied, "no ServiceEntry lets the destination be reached"))
        }
        Decision::Answer(Outcome::NoRoute) => {
            let text = "routes shape the requests to the destination, but none of their rules matches";
            Err(Answer::refused(Outcome::NoRoute, text))
        }
        Decision::Answer(outcome) => Err(table::refused(outcome, project, port, asked, places, explanation)),
    }
}

fn tunnel(
    project: &Project,
    (runtime, port, listener): (&Runtime, &Port, &ListenerRuntime),
    (asked, proxied): (&Asked, &Proxied),
    places: &mut Places<'_>,
    explanation: &mut Explanation,
) -> Result<Answer, Answer> {
    let key = &listener.listener.key;
    let mut listeners = runtime.streams.values().flat_map(|it| it.listeners());
    let Some(listener) = listeners.find(|it| it.listener.key == *key) else {
        return Err(Answer::unreachable("the listener carries no tunnels"));
    };
    let to = Destination { host: proxied.host.as_str().into(), port: proxied.port };
    let route = listener.tunnel(&to).map_err(|reason| {
        explanation.near = destinations(project, listener, places);
        nobody(proxied, reason)
    })?;
    let origin = &route.route.origin;
    let position = places.field(origin, field_of(origin));
    explanation.route = Some(Part::new(format!("{origin} for {}", to.name()), position));
    allowed_by(origin, proxied, explanation)?;
    if route.route.kind == StreamKind::Tls {
        let note = format!("what goes through must be TLS for the server name {:?}", proxied.host);
        explanation.notes.push(note);
        if !asked.url.starts_with("https:") && !asked.url.starts_with("tls:") {
            explanation.notes.push("the URL says that it is none".to_owned());
        }
    }
    for text in describe::settings(&port.gateway.settings) {
        let position = places.field(&port.gateway.origin, "spec.infrastructure.parametersRef");
        explanation.policies.push(Part::new(text, position));
    }
    let targets = (origin, "spec.rules[0]", &*route.route.backends);
    explanation.backends = backends::parts(project.snapshot(), targets, places);
    backends::answer(&explanation.backends)
}

/// Where an object says which destinations it is for.
fn field_of(origin: &Origin) -> &'static str {
    if origin.kind == "ServiceEntry" { "spec.hosts" } else { "spec" }
}

/// What a Sidecar lets be reached is a matter of the name's addresses.
fn allowed_by(origin: &Origin, proxied: &Proxied, explanation: &mut Explanation) -> Result<(), Answer> {
    if origin.kind != "Sidecar" {
        return Ok(());
    }
    if proxied.host == "localhost" || proxied.host.ends_with(".localhost") {
        return Err(nobody(proxied, "a name of this machine is none of the internet"));
    }
    let note = format!(
        "{} is looked up when it is asked for, and reached at addresses of the internet only",
        proxied.host
    );
    explanation.notes.push(note);
    Ok(())
}

fn nobody(proxied: &Proxied, reason: &str) -> Answer {
    Answer::refused(Outcome::EgressRefused, format!("{}:{}: {reason}", proxied.host, proxied.port))
}

/// The forward proxy of a port.
fn proxy(port: &Arc<Port>) -> Option<&Arc<ListenerRuntime>> {
    port.listeners.iter().find(|it| it.listener.protocol == ListenerProtocol::ForwardProxy)
}

/// Where tunnels may lead.
fn destinations(project: &Project, listener: &StreamListener, places: &mut Places<'_>) -> Vec<Part> {
    let routes = project.snapshot().stream_routes.values();
    let here = routes.filter_map(|route| {
        let attachment = route.attachments.iter().find(|it| it.listener == listener.listener.key)?;
        (!route.backends.is_empty()).then_some((route, attachment))
    });
    here.take(MOST_NEAR)
        .map(|(route, attachment)| {
            let hosts: Vec<_> = attachment.hostnames.iter().map(ToString::to_string).collect();
            let origin = &route.origin;
            let position = places.field(origin, "spec.hosts");
            Part::new(format!("{origin} leads to {}", hosts.join(", ")), position)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use crate::explain::tests::{explained, project};
    use crate::explain::{Asked, Explanation, explain};

    const MANIFESTS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress}
spec:
  gatewayClassName: sluice
  listeners:
  - {name: proxy, port: 3128, protocol: sluice.dev/ForwardProxy}
  - {name: plain, port: 80, protocol: HTTP}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com, shaped.example.com]
  resolution: STATIC
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: tls, protocol: TLS}
  endpoints: [{address: 192.0.2.1}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shaped}
spec:
  parentRefs: [{group: networking.istio.io, kind: ServiceEntry, name: api}]
  hostnames: [shaped.example.com]
  rules:
  - matches: [{path: {value: /v1}}]
    backendRefs: [{group: networking.istio.io, kind: Hostname, name: shaped.example.com, port: 80}]
";

    fn asked(url: &str, in_tunnel: bool) -> Explanation {
        explained(MANIFESTS, &Asked::new("GET", url, &[]).unwrap().of_proxy(3128, in_tunnel).unwrap())
    }

    fn route(it: &Explanation) -> &str {
        &it.route.as_ref().unwrap_or_else(|| panic!("{}", it.to_text())).text
    }

    #[test]
    fn the_entry_that_lets_a_destination_be_reached_is_named() {
        let it = asked("http://api.example.com/orders", false);
        assert!(it.answer.is_served, "{}", it.to_text());
        assert_eq!(it.request, "GET http://api.example.com/orders, of the forward proxy on port 3128");
        assert_eq!(route(&it), "ServiceEntry default/api for api.example.com:80");
        let it = asked("https://api.example.com/orders", false);
        assert!(it.answer.is_served, "{}", it.to_text());
        assert_eq!(it.request, "CONNECT api.example.com:443, of the forward proxy on port 3128");
        assert_eq!(route(&it), "ServiceEntry default/api for api.example.com:443");
        assert!(it.notes[0].contains("TLS for the server name"), "{:?}", it.notes);
    }

    #[test]
    fn what_nobody_lets_be_reached_is_refused_with_a_reason() {
        for (url, reason) in [
            ("http://elsewhere.example.com/", "no ServiceEntry lets the destination be reached"),
            ("http://api.example.com:8080/", "no ServiceEntry lets the destination be reached"),
            ("https://elsewhere.example.com/", "no ServiceEntry lets the destination be reached"),
            ("https://192.0.2.1/", "no ServiceEntry lets the address be reached"),
            ("https://3221225985/", "neither a name nor an address as it is written"),
        ] {
            let it = asked(url, false);
            assert_eq!((it.answer.status, it.answer.outcome), (Some(502), Some("egress_refused")), "{url}");
            assert!(it.answer.text.contains(reason), "{url}: {}", it.answer.text);
            assert!(
                it.near.iter().any(|it| it.text.contains("ServiceEntry default/api")),
                "{}",
                it.to_text()
            );
        }
    }

    #[test]
    fn routes_of_an_entry_take_its_place() {
        let it = asked("http://shaped.example.com/v1/a", false);
        assert!(
            it.answer.is_served && route(&it).starts_with("HTTPRoute default/shaped"),
            "{}",
            it.to_text()
        );
        let it = asked("http://shaped.example.com/v2", false);
        assert_eq!(it.answer.outcome, Some("no_route"), "{}", it.to_text());
        let it = asked("http://shaped.example.com/v1", true);
        assert!(it.answer.text.contains("no tunnel leads there"), "{}", it.to_text());
    }

    #[test]
    fn what_a_sidecar_allows_is_reached_at_addresses_of_the_internet() {
        let sidecar = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: any}\n\
                       spec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n";
        let (_folder, project) = project(&format!("{MANIFESTS}{sidecar}"));
        let asked = |url: &str| {
            explain(&project, &Asked::new("GET", url, &[]).unwrap().of_proxy(3128, false).unwrap())
        };
        for url in ["http://free.example.org:8080/", "https://free.example.org/"] {
            let it = asked(url);
            assert!(it.answer.is_served && route(&it).starts_with("Sidecar default/any"), "{}", it.to_text());
            assert!(
                it.notes.iter().any(|it| it.contains("addresses of the internet only")),
                "{:?}",
                it.notes
            );
        }
        for url in ["http://localhost/", "https://app.localhost/", "https://192.0.2.1/", "http://192.0.2.1/"]
        {
            assert_eq!(asked(url).answer.outcome, Some("egress_refused"), "{url}");
        }
        assert!(route(&asked("http://api.example.com/")).starts_with("ServiceEntry default/api"));
    }

    #[test]
    fn a_port_that_is_no_forward_proxy_says_so() {
        let (_folder, project) = project(MANIFESTS);
        let url = "http://api.example.com/";
        let it = explain(&project, &Asked::new("GET", url, &[]).unwrap().of_proxy(80, false).unwrap());
        assert!(it.answer.text.contains("no forward proxy"), "{}", it.to_text());
        let it = explain(&project, &Asked::new("GET", "http://api.example.com:81/", &[]).unwrap());
        assert!(it.notes.iter().any(|it| it.contains("--proxy 3128")), "{}", it.to_text());
        assert!(Asked::new("GET", "udp://a.test:53", &[]).unwrap().of_proxy(3128, false).is_err());
    }
}

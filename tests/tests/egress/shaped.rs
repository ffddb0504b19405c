//! Routes whose parent is a ServiceEntry: what a forward proxy does with requests is what they say, and there is no way
//! around them.

use crate::{Target, connect, get, say};
use sluice_tests::{Sluice, loopback};
use std::net::SocketAddr;
use std::path::Path;

fn manifests(folder: &Path, api: SocketAddr, other: SocketAddr) {
    let yaml = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: egress}}
spec:
  gatewayClassName: sluice
  listeners:
  - {{name: proxy, port: 3128, protocol: sluice.dev/ForwardProxy}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: api}}
spec:
  hosts: [api.example.com, free.example.com]
  resolution: STATIC
  ports:
  - {{number: 80, name: http, protocol: HTTP, targetPort: {api}}}
  - {{number: 5432, name: db, protocol: TCP, targetPort: {api}}}
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: other}}
spec:
  hosts: [other.example.com]
  resolution: STATIC
  ports:
  - {{number: 80, name: http, protocol: HTTP, targetPort: {other}}}
  - {{number: 5432, name: db, protocol: TCP, targetPort: {other}}}
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shaped}}
spec:
  parentRefs: [{{group: networking.istio.io, kind: ServiceEntry, name: api}}]
  hostnames: [api.example.com]
  rules:
  - matches: [{{path: {{value: /v1}}, method: GET}}]
    filters: [{{type: ResponseHeaderModifier, responseHeaderModifier: {{set: [{{name: x-shaped, value: by-route}}]}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}}]
  - matches: [{{path: {{value: /v2}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: other.example.com, port: 80}}]
  - matches: [{{path: {{value: /old}}}}]
    filters: [{{type: RequestRedirect, requestRedirect: {{path: {{type: ReplaceFullPath, replaceFullPath: /v1}}}}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: database}}
spec:
  parentRefs: [{{group: networking.istio.io, kind: ServiceEntry, name: api, port: 5432}}]
  rules: [{{backendRefs: [{{group: networking.istio.io, kind: Hostname, name: other.example.com, port: 5432}}]}}]
",
        api = api.port(),
        other = other.port(),
    );
    std::fs::write(folder.join("egress.yaml"), yaml).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_of_an_entry_say_what_goes_to_it() {
    let (api, other) = (Target::start("api").await, Target::start("other").await);
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), api.address, other.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let proxy = sluice.address(3128);
    let ask = async |target: &str, host: &str| say(proxy, get(target, host).as_bytes()).await;

    let back = ask("http://api.example.com/v1/orders", "api.example.com").await;
    assert!(back.ends_with("api") && back.to_ascii_lowercase().contains("x-shaped: by-route"), "{back}");
    let back = ask("http://api.example.com/v2", "api.example.com").await;
    assert!(back.ends_with("other"), "{back}");
    let back = ask("http://api.example.com/old", "api.example.com").await.to_ascii_lowercase();
    assert!(back.contains("location: http://api.example.com/v1\r\n"), "{back}");
    let back = ask("http://free.example.com/anything", "free.example.com").await;
    assert!(back.ends_with("api"), "a host that the route does not name is as ever: {back}");
    let back = say(proxy, connect("api.example.com:5432").as_bytes()).await;
    assert!(back.ends_with("other"), "{back}");
    let back = say(proxy, connect("free.example.com:80").as_bytes()).await;
    assert!(back.ends_with("api"), "{back}");

    // Around the route.
    let before = (api.reached(), other.reached());
    for (way, status) in [
        (get("http://api.example.com/", "api.example.com"), "404"),
        (get("http://api.example.com/v1", "api.example.com").replacen("GET", "POST", 1), "404"),
        (get("http://api.example.com/v1/../admin", "api.example.com"), "404"),
        (get("http://api.example.com:5432/v1", "api.example.com:5432"), "502"),
        (connect("api.example.com:80"), "502"),
        (connect("API.example.com.:80"), "502"),
    ] {
        let back = say(proxy, way.as_bytes()).await;
        assert_eq!(back.split(' ').nth(1), Some(status), "{way:?}: {back:?}");
    }
    assert_eq!((api.reached(), other.reached()), before);
    sluice_tests::eventually("the log says why", || async {
        sluice.said().contains("no tunnel leads there")
    })
    .await;
}

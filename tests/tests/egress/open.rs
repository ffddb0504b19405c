//! ALLOW_ANY: names that no ServiceEntry has may be reached, at addresses of the internet. What is inside stays closed.

use crate::{Target, connect, get, say};
use sluice_tests::{Sluice, loopback};
use std::net::SocketAddr;
use std::path::Path;

fn manifests(folder: &Path, named: SocketAddr) {
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
kind: Sidecar
metadata: {{name: open}}
spec:
  outboundTrafficPolicy: {{mode: ALLOW_ANY}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: named}}
spec:
  hosts: [named.example.com]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shaped}}
spec:
  parentRefs: [{{group: networking.istio.io, kind: ServiceEntry, name: named}}]
  rules:
  - matches: [{{path: {{value: /v1}}}}]
    backendRefs: [{{group: networking.istio.io, kind: Hostname, name: named.example.com, port: 80}}]
",
        port = named.port(),
    );
    std::fs::write(folder.join("egress.yaml"), yaml).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_any_name_may_be_reached_nothing_inside_is() {
    let (named, canary) = (Target::start("named").await, Target::start("canary").await);
    let folder = tempfile::tempdir().unwrap();
    manifests(folder.path(), named.address);
    let mut sluice = Sluice::spawn(loopback(), folder.path(), &[]);
    sluice.ready().await;
    let proxy = sluice.address(3128);
    let back = say(proxy, get("http://named.example.com/v1", "named.example.com").as_bytes()).await;
    assert!(back.ends_with("named"), "{back}\n{}", sluice.said());

    let before = named.reached();
    let port = canary.address.port();
    for host in [
        format!("localhost:{port}"),
        format!("LOCALHOST.:{port}"),
        format!("app.localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("0.0.0.0:{port}"),
        "169.254.169.254:80".to_owned(),
    ] {
        for way in [connect(&host), get(&format!("http://{host}/"), &host)] {
            let back = say(proxy, way.as_bytes()).await;
            let status = back.split(' ').nth(1).unwrap_or_default();
            assert!(matches!(status, "400" | "502"), "{way:?}: {back:?}");
        }
    }
    // What an entry's routes say holds here too.
    for (way, status) in [
        (get("http://named.example.com/v2", "named.example.com"), "404"),
        (connect("named.example.com:80"), "502"),
    ] {
        let back = say(proxy, way.as_bytes()).await;
        assert_eq!(back.split(' ').nth(1), Some(status), "{way:?}: {back:?}");
    }
    assert_eq!((canary.reached(), named.reached()), (0, before));
    sluice_tests::eventually("who reaches what nobody names is in the log, which is off", || async {
        sluice.said().contains("route=\"Sidecar default/open\"")
    })
    .await;
}

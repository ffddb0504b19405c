//! The cluster runs pods, and Services reach them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, LogParams};
use sluice_cluster_tests::{Space, eventually, shared};
use sluice_tests::{Answer, Ask, Wire};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A Deployment of the official echo and a load balancer before it.
const ECHO: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: echo
        image: gcr.io/k8s-staging-gateway-api/echo-basic:v1
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        readinessProbe: {httpGet: {path: /health, port: 3000}}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {type: LoadBalancer, selector: {app: echo}, ports: [{port: 80, targetPort: 3000}]}
";

async fn try_get(address: SocketAddr, path: &str) -> Result<Answer> {
    let mut wire = Wire::over(Box::new(TcpStream::connect(address).await?));
    wire.try_send(&Ask::get(&format!("http://{address}{path}")).to_http1()).await?;
    wire.read(false).await.ok().context("no whole answer")
}

async fn pods(space: &Space, selector: &str) -> Vec<Pod> {
    space.api::<Pod>().list(&ListParams::default().labels(selector)).await.unwrap().items
}

#[test]
fn a_deployment_becomes_ready_and_its_pods_answer_at_their_addresses_and_through_the_load_balancer() {
    shared(async |space| {
        space.apply(ECHO).await;
        space
            .until("two ready replicas", "echo", |deployment: &Deployment| {
                deployment.status.as_ref().and_then(|status| status.ready_replicas) == Some(2)
            })
            .await;
        let pods = pods(&space, "app=echo").await;
        let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
        for pod in &pods {
            let status = pod.status.as_ref().unwrap();
            let address = format!("{}:3000", status.pod_ip.as_ref().unwrap()).parse().unwrap();
            let answer = try_get(address, "/where").await.unwrap();
            assert_eq!(answer.json()["pod"], pod.name_any());
            assert_eq!(answer.json()["namespace"], space.namespace);
        }

        let balanced = |service: &Service| {
            let status = service.status.as_ref()?.load_balancer.as_ref()?;
            status.ingress.as_ref()?.first()?.ip.clone()
        };
        let service =
            space.until("an address", "echo", |service: &Service| balanced(service).is_some()).await;
        let address = SocketAddr::new(balanced(&service).unwrap().parse().unwrap(), 80);
        for name in &names {
            eventually("each pod has its turn", async || {
                let pod = try_get(address, "/").await?.json()["pod"].clone();
                if pod == *name.as_str() { Ok(()) } else { bail!("{pod} answers") }
            })
            .await;
        }

        // The kubelet's logs reach a client through the API server.
        let log = space.api::<Pod>().logs(&names[0], &LogParams::default()).await.unwrap();
        assert!(log.contains("/where"), "{log}");

        let zones = space.api::<EndpointSlice>().list(&ListParams::default()).await.unwrap();
        let zones: Vec<_> =
            zones.items.iter().flat_map(|slice| &slice.endpoints).map(|end| end.zone.clone()).collect();
        assert!(
            zones.iter().all(|zone| zone.as_ref().is_some_and(|zone| zone.starts_with("zone-"))),
            "{zones:?}"
        );
    });
}

/// A pod on a node that no kubelet of the cluster has, a Service that another proxy has, and one of each that are served.
const FOREIGN: &str = r"
{apiVersion: v1, kind: Node, metadata: {name: elsewhere}}
---
apiVersion: v1
kind: Pod
metadata: {name: foreign}
spec: {nodeName: elsewhere, containers: [{name: echo, image: echo-basic}]}
---
apiVersion: v1
kind: Pod
metadata: {name: own, labels: {app: own}}
spec: {containers: [{name: echo, image: echo-basic}]}
---
apiVersion: v1
kind: Service
metadata: {name: foreign, labels: {service.kubernetes.io/service-proxy-name: other}}
spec: {selector: {app: own}, ports: [{port: 80, targetPort: 3000}]}
---
apiVersion: v1
kind: Service
metadata: {name: own}
spec: {selector: {app: own}, ports: [{port: 80, targetPort: 3000}]}
";

#[test]
fn what_another_kubelet_or_another_proxy_has_is_left_alone() {
    shared(async |space| {
        space.apply(FOREIGN).await;
        let address = async |name: &str| {
            let service = space.api::<Service>().get(name).await.unwrap();
            let address = service.spec.and_then(|it| it.cluster_ip).unwrap();
            SocketAddr::new(address.parse().unwrap(), 80)
        };
        let own = address("own").await;
        eventually("the own pod answers", async || try_get(own, "/").await).await;
        assert!(try_get(address("foreign").await, "/").await.is_err());
        let foreign = space.api::<Pod>().get("foreign").await.unwrap().status.unwrap();
        assert_eq!((foreign.phase.as_deref(), foreign.pod_ip), (Some("Pending"), None));
    });
}

#[test]
fn a_pod_has_its_volumes_a_token_of_its_own_and_no_more_rights_than_it_asks_for() {
    shared(async |space| {
        space
            .apply(
                r#"
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {greeting: hello}}
---
apiVersion: v1
kind: Pod
metadata: {name: looker}
spec:
  restartPolicy: Never
  containers:
  - name: looker
    image: echo-basic
    command: [/bin/sh, -c]
    args:
    - |
      cat /settings/greeting; echo
      id -u; cut -d. -f2 /tokens/token | wc -c
      touch /here 2>/dev/null || echo read-only
      touch /scratch/here && echo writable
      grep CapBnd /proc/self/status
      echo "$(MY_IP)"; getent hosts kubernetes.default.svc
    env: [{name: MY_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: tokens, mountPath: /tokens}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: scratch, emptyDir: {}}
  - name: tokens
    projected: {sources: [{serviceAccountToken: {path: token, audience: sluice-controller}}]}
"#,
            )
            .await;
        let phase =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let pod = space
            .until("its end", "looker", |pod: &Pod| !["Pending", "Running"].contains(&&*phase(pod)))
            .await;
        let log = space.cluster.log(&space.namespace, "looker");
        assert_eq!(phase(&pod), "Succeeded", "{log}");
        let lines: Vec<_> = log.lines().collect();
        // A user namespace made by `unshare --map-root-user` has no user but root.
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        let user = if map.split_whitespace().nth(2) == Some("1") { "0" } else { "1000" };
        assert_eq!(lines[..2], ["hello", user], "{log}");
        assert!(lines[2].trim().parse::<u32>().unwrap() > 100, "{log}");
        assert_eq!(lines[3..6], ["read-only", "writable", "CapBnd:\t0000000000000000"], "{log}");
        assert_eq!(lines[6], pod.status.unwrap().pod_ip.unwrap());
        assert!(lines[7].starts_with("10.96.0.1"), "{log}");
    });
}

#[test]
fn a_container_that_ends_is_started_again_and_a_deleted_pod_ends_gently() {
    shared(async |space| {
        space
            .apply(
                r#"
apiVersion: v1
kind: Pod
metadata: {name: ending}
spec:
  containers:
  - name: ending
    image: echo-basic
    command: [/bin/sh, -c, "trap 'echo bye; exit 0' TERM; echo up; sleep 0.1; sleep 1 & wait; exit 3"]
"#,
            )
            .await;
        let restarts = |pod: &Pod| {
            pod.status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref()?.first().map(|one| one.restart_count))
        };
        space.until("a second start", "ending", |pod: &Pod| restarts(pod) >= Some(1)).await;
        eventually("the process of the second start", async || {
            let log = space.cluster.log(&space.namespace, "ending");
            if log.matches("up").count() >= 2 { Ok(()) } else { bail!("{log}") }
        })
        .await;
        space.api::<Pod>().delete("ending", &DeleteParams::default()).await.unwrap();
        eventually("the end of the pod", async || match space.api::<Pod>().get_opt("ending").await? {
            None => Ok(()),
            Some(pod) => bail!("{:?}", pod.status),
        })
        .await;
    });
}

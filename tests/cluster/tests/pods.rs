//! The kubelet of the tests gives pods what a real one does: init containers, native sidecars (KEP-753), probes of every
//! kind, hooks, and rights that are asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::bail;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use sluice_cluster_tests::{Space, eventually, shared};

fn phase(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.clone()).unwrap_or_default();
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

async fn log_has(space: &Space, pod: &str, text: &str) -> String {
    eventually(text, async || {
        let log = space.cluster.log(&space.namespace, pod);
        if log.contains(text) { Ok(log) } else { bail!("{log}") }
    })
    .await
}

#[test]
fn init_containers_end_and_a_sidecar_is_started_before_the_app_and_ended_after_it() {
    shared(async |space| {
        space
            .apply(
                r#"
apiVersion: v1
kind: Pod
metadata: {name: ordered}
spec:
  terminationGracePeriodSeconds: 20
  initContainers:
  - name: first
    image: echo-basic
    command: [/bin/sh, -c, "echo first >> /shared/order"]
    volumeMounts: &shared [{name: shared, mountPath: /shared}]
  - name: beside
    image: echo-basic
    restartPolicy: Always
    command: [/bin/sh, -c, "trap 'echo beside-ends >> /shared/order; cat /shared/order; exit 0' TERM; echo beside >> /shared/order; sleep 0.3; touch /shared/up; while :; do sleep 0.05; done"]
    startupProbe: {exec: {command: [/bin/sh, -c, "test -e /shared/up && echo up >> /shared/order"]}}
    lifecycle: {preStop: {exec: {command: [/bin/sh, -c, "echo drain >> /shared/order"]}}}
    volumeMounts: *shared
  - name: last
    image: echo-basic
    command: [/bin/sh, -c, "echo last >> /shared/order"]
    volumeMounts: *shared
  containers:
  - name: app
    image: echo-basic
    command: [/bin/sh, -c, "trap 'sleep 0.3; echo app-ends >> /shared/order; exit 0' TERM; echo app >> /shared/order; while :; do sleep 0.05; done"]
    readinessProbe: {exec: {command: [/bin/grep, app, /shared/order]}}
    volumeMounts: *shared
  volumes: [{name: shared, emptyDir: {}}]
"#,
            )
            .await;
        let pod = space.until("readiness", "ordered", is_ready).await;
        assert_eq!(phase(&pod), "Running");
        let inits = pod.status.unwrap().init_container_statuses.unwrap();
        assert_eq!(
            inits.iter().map(|it| it.started).collect::<Vec<_>>(),
            [Some(false), Some(true), Some(false)]
        );
        space.api::<Pod>().delete("ordered", &DeleteParams::default()).await.unwrap();
        let log = log_has(&space, "ordered", "beside-ends").await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            lines,
            ["first", "beside", "up", "last", "app", "drain", "app-ends", "beside-ends"],
            "{log}"
        );
    });
}

#[test]
fn a_sidecar_keeps_no_job_from_completing() {
    shared(async |space| {
        space
            .apply(
                r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {name: beside, image: echo-basic, restartPolicy: Always, command: [/bin/sh, -c, "while :; do sleep 0.05; done"]}
      containers: [{name: app, image: echo-basic, command: [/bin/sh, -c, "echo done"]}]
"#,
            )
            .await;
        space
            .until("completion", "once", |job: &Job| {
                job.status.as_ref().and_then(|it| it.succeeded) == Some(1)
            })
            .await;
    });
}

#[test]
fn a_pod_whose_init_container_fails_for_good_has_failed_and_its_app_never_starts() {
    shared(async |space| {
        space
            .apply(
                r#"
apiVersion: v1
kind: Pod
metadata: {name: failing}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: echo-basic, command: [/bin/sh, -c, "exit 3"]}]
  containers: [{name: app, image: echo-basic, command: [/bin/sh, -c, "echo app"]}]
"#,
            )
            .await;
        space.until("its end", "failing", |pod: &Pod| phase(pod) == "Failed").await;
        assert!(!space.cluster.log(&space.namespace, "failing").contains("app"));
    });
}

#[test]
fn root_has_the_rights_that_it_asks_for_and_no_more() {
    shared(async |space| {
        space
            .apply(
                r#"
apiVersion: v1
kind: Pod
metadata: {name: capable}
spec:
  restartPolicy: Never
  initContainers:
  - name: asks
    image: echo-basic
    command: [/bin/sh, -c, "grep CapEff /proc/self/status; ip addr add 192.0.2.7/32 dev lo && echo made"]
    securityContext: {runAsUser: 0, capabilities: {drop: [ALL], add: [NET_ADMIN, NET_RAW]}}
  containers:
  - name: plain
    image: echo-basic
    command: [/bin/sh, -c, "ip addr del 192.0.2.7/32 dev lo 2>/dev/null || echo refused"]
"#,
            )
            .await;
        space.until("its end", "capable", |pod: &Pod| ["Succeeded", "Failed"].contains(&&*phase(pod))).await;
        let log = space.cluster.log(&space.namespace, "capable");
        // NET_ADMIN (12) and NET_RAW (13).
        assert!(log.contains("CapEff:\t0000000000003000"), "{log}");
        assert!(log.contains("made") && log.contains("refused"), "{log}");
    });
}

#[test]
fn a_service_of_the_own_namespace_has_its_short_name() {
    shared(async |space| {
        space
            .apply(
                r#"
{apiVersion: v1, kind: Service, metadata: {name: reviews}, spec: {ports: [{port: 80}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  restartPolicy: OnFailure
  containers:
  - {name: app, image: echo-basic, command: [/bin/sh, -c, "getent hosts reviews && getent hosts kubernetes.default"]}
"#,
            )
            .await;
        space.until("its end", "asker", |pod: &Pod| phase(pod) == "Succeeded").await;
    });
}

//! `sluice install`, `uninstall`, `profile` and `status` as programs, as far as no cluster is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::process::{Command, Output};

fn sluice(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    // No cluster of the one who runs the tests is ever found.
    for name in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").args(arguments).output().unwrap()
}

fn failure(arguments: &[&str]) -> String {
    let output = sluice(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = sluice(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dry_run_prints_every_object_without_a_cluster() {
    let yaml = printed(&[
        "install",
        "--dry-run",
        "--profile",
        "demo",
        "--set",
        "registry=r.example.com/x",
        "-n",
        "edge",
    ]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&yaml).unwrap();
    let titles: Vec<String> = objects
        .iter()
        .map(|it| format!("{} {}", it["kind"].as_str().unwrap(), it["metadata"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        titles,
        [
            "Namespace edge",
            "CustomResourceDefinition gatewayparameters.sluice.dev",
            "CustomResourceDefinition certificateissuers.sluice.dev",
            "CustomResourceDefinition trafficpolicies.sluice.dev",
            "CustomResourceDefinition healthcheckpolicies.sluice.dev",
            "ServiceAccount sluice-controller",
            "ClusterRole sluice-controller",
            "ClusterRoleBinding sluice-controller",
            "Role sluice-controller",
            "RoleBinding sluice-controller",
            "Service sluice-controller",
            "Deployment sluice-controller",
            "GatewayParameters sluice",
            "GatewayClass sluice",
            "MutatingWebhookConfiguration sluice-injector",
            "Namespace sluice-demo",
            "Service echo",
            "Deployment echo",
            "Gateway demo",
            "HTTPRoute echo",
        ]
    );
    for object in &objects {
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "sluice", "{object}");
    }
    let deployment = objects.iter().find(|it| it["kind"] == "Deployment").unwrap();
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, &format!("r.example.com/x/sluice-controller:{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_setting_is_told_before_anything_is_touched() {
    let told = failure(&["install", "--dry-run", "--set", "controller.replica=3"]);
    assert!(told.contains("did you mean \"controller.replicas\"?"), "{told}");
    let told = failure(&["install", "--dry-run", "--profile", "large"]);
    assert!(told.contains("minimal, default, demo"), "{told}");
}

#[test]
fn without_a_cluster_the_next_step_is_told() {
    for command in ["install", "uninstall", "status"] {
        let told = failure(&[command]);
        assert!(told.contains("--kubeconfig"), "{command}: {told}");
    }
    let told = failure(&["status", "--kubeconfig", "/nonexistent/config"]);
    assert!(told.contains("/nonexistent/config"), "{told}");
}

#[test]
fn a_cluster_that_does_not_answer_is_told_with_its_address() {
    // Bound and never accepted from; closed before the command asks.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&file, config).unwrap();
    let told = failure(&["install", "--kubeconfig", file.to_str().unwrap()]);
    assert!(told.contains("can't reach the API server") && told.contains("right context"), "{told}");
    let told = failure(&["install", "--kubeconfig", file.to_str().unwrap(), "--context", "other"]);
    assert!(told.contains("other"), "{told}");
}

#[test]
fn profiles_are_listed_and_dumped() {
    let list = printed(&["profile", "list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    let dump = printed(&["profile", "dump", "minimal"]);
    assert!(dump.contains("replicas: 1\n"), "{dump}");
}

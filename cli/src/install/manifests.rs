//! The objects of an installation: the manifests of `deploy/base` with the settings put in.
//!
//! The one source: `sluice install` prints or applies what [`render`] gives, and the chart in `deploy/chart` is made
//! from the same call. Objects come in the order in which they must be applied.

use super::settings::{Key, NAMESPACE, Settings};
use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

/// Label of everything that an installation makes, besides the name and the version.
pub const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "sluice");
/// The same: who made it, so that it can be found again.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "sluice");
/// Name of the controller's objects.
pub const CONTROLLER: &str = "sluice-controller";

/// The files in the order of application; a file may hold several objects.
const BASE: [&str; 12] = [
    include_str!("../../../deploy/base/namespace.yaml"),
    sluice_crds::PARAMETERS_CRD_YAML,
    sluice_crds::ISSUER_CRD_YAML,
    sluice_crds::TRAFFIC_CRD_YAML,
    sluice_crds::HEALTH_CRD_YAML,
    include_str!("../../../deploy/base/service-account.yaml"),
    include_str!("../../../deploy/base/cluster-role.yaml"),
    include_str!("../../../deploy/base/cluster-role-binding.yaml"),
    include_str!("../../../deploy/base/role.yaml"),
    include_str!("../../../deploy/base/role-binding.yaml"),
    include_str!("../../../deploy/base/service.yaml"),
    include_str!("../../../deploy/base/deployment.yaml"),
];
const BUDGET: &str = include_str!("../../../deploy/base/pod-disruption-budget.yaml");
const PARAMETERS: &str = include_str!("../../../deploy/base/gateway-parameters.yaml");
const GATEWAY_CLASS: &str = include_str!("../../../deploy/base/gateway-class.yaml");
const WEBHOOK: &str = include_str!("../../../deploy/base/webhook.yaml");
const DEMO: &str = include_str!("../../../deploy/base/demo.yaml");

/// One object, ready to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest(pub Value);

impl Manifest {
    /// `Deployment`.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Namespace of the object, unless it is the cluster's.
    pub fn namespace(&self) -> Option<&str> {
        self.0.pointer("/metadata/namespace")?.as_str()
    }

    /// `Deployment sluice-system/sluice-controller`.
    pub fn title(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{}", self.kind(), self.name()),
            None => format!("{} {}", self.kind(), self.name()),
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Replaces what stands at a place; the place must be there.
    fn put(&mut self, pointer: &str, value: Value) -> anyhow::Result<()> {
        let title = self.title();
        let place = self.0.pointer_mut(pointer);
        *place.ok_or_else(|| anyhow!("{title} has no {pointer}"))? = value;
        Ok(())
    }

    /// Adds a field to the map at a place.
    fn add(&mut self, pointer: &str, field: &str, value: Value) -> anyhow::Result<()> {
        let title = self.title();
        let map = self.0.pointer_mut(pointer).and_then(Value::as_object_mut);
        map.ok_or_else(|| anyhow!("{title} has no {pointer}"))?.insert(field.to_owned(), value);
        Ok(())
    }
}

/// The objects of an installation in the order of application. Fails only when `deploy/base` and this file disagree.
pub fn render(settings: &Settings) -> anyhow::Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for text in BASE {
        manifests.extend(parse(text)?);
    }
    if settings.holds(Key::PodDisruptionBudget) {
        manifests.extend(parse(BUDGET)?);
    }
    manifests.extend(parse(PARAMETERS)?);
    manifests.extend(parse(GATEWAY_CLASS)?);
    if settings.holds(Key::Injection) {
        manifests.extend(parse(WEBHOOK)?);
    }
    if settings.holds(Key::Demo) {
        manifests.extend(parse(DEMO)?);
    }
    for manifest in &mut manifests {
        fit(manifest, settings)?;
    }
    Ok(manifests)
}

/// The objects as one YAML stream.
pub fn to_yaml(manifests: &[Manifest]) -> anyhow::Result<String> {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&manifest.0).context("can't write YAML")?);
    }
    Ok(text)
}

fn parse(text: &str) -> anyhow::Result<Vec<Manifest>> {
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(text).context("a manifest of deploy/base is broken")?;
    Ok(objects.into_iter().map(Manifest).collect())
}

/// Puts the settings into one object.
fn fit(manifest: &mut Manifest, settings: &Settings) -> anyhow::Result<()> {
    place(manifest, settings)?;
    label(manifest)?;
    match (manifest.kind(), manifest.name()) {
        ("Deployment", CONTROLLER) => fit_controller(manifest, settings),
        ("Deployment", _) => {
            let container = "/spec/template/spec/containers/0";
            manifest.put(&format!("{container}/image"), json!(settings.get(Key::DemoImage)))?;
            manifest.put(&format!("{container}/imagePullPolicy"), json!(settings.get(Key::ImagePullPolicy)))
        }
        ("GatewayParameters", _) => {
            let replicas =
                settings.get(Key::GatewayReplicas).parse::<u32>().context("replicas of gateways")?;
            manifest.put("/spec/deployment/replicas", json!(replicas))?;
            manifest.put("/spec/service/type", json!(settings.get(Key::ServiceType)))
        }
        ("GatewayClass", _) => {
            manifest.put("/metadata/name", json!(settings.get(Key::GatewayClass)))?;
            manifest.put("/spec/parametersRef/namespace", json!(settings.namespace))?;
            manifest.put("/spec/controllerName", json!(settings.get(Key::ControllerName)))
        }
        ("MutatingWebhookConfiguration", _) => fit_webhook(manifest, settings),
        ("Gateway", _) => manifest.put("/spec/gatewayClassName", json!(settings.get(Key::GatewayClass))),
        _ => Ok(()),
    }
}

fn fit_controller(manifest: &mut Manifest, settings: &Settings) -> anyhow::Result<()> {
    let replicas = settings.get(Key::Replicas).parse::<u32>().context("replicas")?;
    manifest.put("/spec/replicas", json!(replicas))?;
    let pod = "/spec/template/spec";
    if !settings.get(Key::ImagePullSecret).is_empty() {
        let secrets = json!([{ "name": settings.get(Key::ImagePullSecret) }]);
        manifest.add(pod, "imagePullSecrets", secrets)?;
    }
    let container = format!("{pod}/containers/0");
    let at = |place: &str| format!("{container}/{place}");
    manifest.put(&at("image"), json!(settings.get(Key::ControllerImage)))?;
    manifest.put(&at("imagePullPolicy"), json!(settings.get(Key::ImagePullPolicy)))?;
    manifest.put(&at("resources/requests/cpu"), json!(settings.get(Key::CpuRequest)))?;
    manifest.put(&at("resources/requests/memory"), json!(settings.get(Key::MemoryRequest)))?;
    manifest.put(&at("resources/limits/memory"), json!(settings.get(Key::MemoryLimit)))?;
    if !settings.get(Key::CpuLimit).is_empty() {
        manifest.add(&at("resources/limits"), "cpu", json!(settings.get(Key::CpuLimit)))?;
    }
    manifest.put(&at("args"), arguments(settings))?;
    let log = [("SLUICE_LOG", settings.get(Key::Log))];
    let environment = manifest.0.pointer_mut(&at("env")).and_then(Value::as_array_mut);
    let environment = environment.ok_or_else(|| anyhow!("the controller has no environment"))?;
    environment.extend(log.map(|(name, value)| json!({ "name": name, "value": value })));
    Ok(())
}

/// Namespace of the Service, and what the selectors name: the controller's own namespace and the revision.
fn fit_webhook(manifest: &mut Manifest, settings: &Settings) -> anyhow::Result<()> {
    let revision = settings.get(Key::Revision);
    let webhooks = manifest.0.pointer_mut("/webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.ok_or_else(|| anyhow!("the webhook has no webhooks"))? {
        webhook["clientConfig"]["service"]["namespace"] = json!(settings.namespace);
        for selector in ["namespaceSelector", "objectSelector"] {
            let terms = webhook[selector]["matchExpressions"].as_array_mut();
            for term in terms.into_iter().flatten() {
                let key = term["key"].as_str().unwrap_or_default().to_owned();
                for value in term["values"].as_array_mut().into_iter().flatten() {
                    if key == "istio.io/rev" {
                        *value = json!(revision);
                    } else if value == NAMESPACE {
                        *value = json!(settings.namespace);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The flags of `sluice-controller`.
fn arguments(settings: &Settings) -> Value {
    let bind = settings.get(Key::Bind);
    json!([
        format!("--serve={bind}:15010"),
        format!("--admin={bind}:15014"),
        format!("--webhook={bind}:15017"),
        format!("--controller-name={}", settings.get(Key::ControllerName)),
        format!("--root-namespace={}", settings.get(Key::RootNamespace)),
        format!("--cluster-domain={}", settings.get(Key::ClusterDomain)),
        format!("--gateway-image={}", settings.get(Key::GatewayImage)),
        format!("--sidecar-image={}", settings.get(Key::SidecarImage)),
        format!("--sidecar-pull-policy={}", settings.get(Key::ImagePullPolicy)),
        format!("--revision={}", settings.get(Key::Revision)),
        format!("--log-format={}", settings.get(Key::LogFormat)),
    ])
}

/// Moves what stands in the base's namespace to the chosen one.
fn place(manifest: &mut Manifest, settings: &Settings) -> anyhow::Result<()> {
    if manifest.kind() == "Namespace" && manifest.name() == NAMESPACE {
        manifest.put("/metadata/name", json!(settings.namespace))?;
    }
    if manifest.namespace() == Some(NAMESPACE) {
        manifest.put("/metadata/namespace", json!(settings.namespace))?;
    }
    if manifest.0.pointer("/subjects/0/namespace").is_some() {
        manifest.put("/subjects/0/namespace", json!(settings.namespace))?;
    }
    Ok(())
}

fn label(manifest: &mut Manifest) -> anyhow::Result<()> {
    if manifest.0.pointer("/metadata/labels").is_none() {
        manifest.add("/metadata", "labels", json!({}))?;
    }
    let is_demo = manifest.namespace().unwrap_or(manifest.name()) == "sluice-demo";
    let name = if is_demo { "sluice-demo" } else { CONTROLLER };
    for (label, value) in [
        ("app.kubernetes.io/name", name),
        ("app.kubernetes.io/version", env!("CARGO_PKG_VERSION")),
        PART_OF,
        MANAGED_BY,
    ] {
        manifest.add("/metadata/labels", label, json!(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Manifest, render, to_yaml};
    use crate::install::{Key, Settings};
    use crate::profile;
    use serde_json::Value;

    fn find(manifests: &[Manifest], kind: &str) -> Value {
        manifests.iter().find(|it| it.kind() == kind).unwrap_or_else(|| panic!("no {kind}")).0.clone()
    }

    #[test]
    fn every_setting_changes_what_is_installed() {
        let before = {
            let mut settings = Settings::default();
            settings.set("demo.enabled", "true").unwrap();
            to_yaml(&render(&settings).unwrap()).unwrap()
        };
        let other = |key: Key| match key {
            Key::ControllerImage | Key::GatewayImage | Key::SidecarImage | Key::DemoImage => {
                "registry.example.com/other:1"
            }
            Key::Replicas | Key::GatewayReplicas => "5",
            Key::ServiceType => "NodePort",
            Key::PodDisruptionBudget | Key::Injection | Key::Demo => "false",
            Key::CpuRequest | Key::CpuLimit => "77m",
            Key::MemoryRequest | Key::MemoryLimit => "77Mi",
            Key::Log => "debug",
            Key::LogFormat => "text",
            Key::Bind => "0.0.0.0",
            Key::ControllerName => "example.com/other",
            Key::GatewayClass => "other",
            Key::Revision => "canary",
            Key::RootNamespace => "other-root",
            Key::ClusterDomain => "other.example",
            Key::ImagePullPolicy => "Never",
            Key::ImagePullSecret => "credentials",
        };
        for key in Key::ALL {
            let mut settings = Settings::default();
            settings.set("demo.enabled", "true").unwrap();
            settings.set(key.name(), other(key)).unwrap();
            let after = to_yaml(&render(&settings).unwrap()).unwrap();
            assert_ne!(before, after, "{}", key.name());
            let shows = after.contains(other(key)) || other(key) == "false";
            assert!(shows, "{} is not among the manifests", key.name());
        }
    }

    #[test]
    fn another_namespace_reaches_every_object_and_the_bindings() {
        let mut settings = Settings::default();
        settings.namespace = "edge".into();
        let manifests = render(&settings).unwrap();
        assert_eq!(find(&manifests, "Namespace")["metadata"]["name"], "edge");
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            assert_eq!(find(&manifests, kind)["subjects"][0]["namespace"], "edge", "{kind}");
        }
        assert!(!to_yaml(&manifests).unwrap().contains("sluice-system"));
    }

    #[test]
    fn every_kind_can_be_applied() {
        for manifest in render(&profile::read("demo").unwrap()).unwrap() {
            crate::cluster::resource(manifest.api_version(), manifest.kind()).unwrap();
        }
    }

    #[test]
    fn the_profiles_differ_in_what_they_promise() {
        let of = |name| render(&profile::read(name).unwrap()).unwrap();
        let (minimal, default, demo) = (of("minimal"), of("default"), of("demo"));
        assert_eq!(find(&default, "Deployment")["spec"]["replicas"], 2);
        assert_eq!(find(&default, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
        assert_eq!(find(&minimal, "Deployment")["spec"]["replicas"], 1);
        assert!(!minimal.iter().any(|it| it.kind() == "PodDisruptionBudget"));
        assert_eq!(find(&demo, "Gateway")["spec"]["gatewayClassName"], "sluice");
        assert!(demo.iter().any(|it| it.title() == "HTTPRoute sluice-demo/echo"));
    }

    #[test]
    fn pods_keep_to_the_restricted_standard() {
        let mut pods = 0;
        for manifest in render(&profile::read("demo").unwrap()).unwrap() {
            let Some(pod) = manifest.0.pointer("/spec/template/spec") else { continue };
            pods += 1;
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["capabilities"]["drop"][0], "ALL");
                assert!(container["resources"]["limits"]["memory"].is_string());
            }
        }
        assert_eq!(pods, 2);
    }
}

//! Labels and annotations of a pod with a sidecar.

use super::containers::{AGENT_PORT, volumes};
use super::decision::REVISION;
use super::settings::InjectSettings;
use super::workload::Owner;
use super::{INIT, PROXY, STATUS_ANNOTATION};
use serde_json::{Map, Value, json};

/// By this label clients know that they can speak mTLS to a pod.
const TLS_MODE: &str = "security.istio.io/tlsMode";
const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
/// The longest value of a label.
const LABEL_LENGTH: usize = 63;
/// Opts out of the merge.
const MERGE: &str = "prometheus.istio.io/merge-metrics";

/// The map at a field of the metadata, made when it is not there.
fn map<'a>(pod: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let metadata = pod.as_object_mut()?.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?;
    let map = metadata.entry(field.to_owned()).or_insert(Value::Null);
    if map.is_null() {
        *map = json!({});
    }
    map.as_object_mut()
}

/// Labels that tell who this workload is. Those that the user has set stay.
pub(super) fn label(pod: &mut Value, owner: &Owner) {
    let Some(labels) = map(pod, "labels") else { return };
    let says =
        |name: &str| labels.get(name).and_then(Value::as_str).filter(|it| !it.is_empty()).map(str::to_owned);
    let name =
        says("app.kubernetes.io/name").or_else(|| says("app")).unwrap_or_else(|| shortened(&owner.name));
    let revision = says("app.kubernetes.io/version").or_else(|| says("version"));
    for (label, value) in [
        (TLS_MODE, "istio".to_owned()),
        (CANONICAL_NAME, name),
        (CANONICAL_REVISION, revision.unwrap_or_else(|| "latest".to_owned())),
    ] {
        labels.entry(label).or_insert_with(|| json!(value));
    }
}

/// A name as the value of a label.
fn shortened(name: &str) -> String {
    name.chars().take(LABEL_LENGTH).collect::<String>().trim_end_matches(['-', '.', '_']).to_owned()
}

/// Annotations that tell what was injected, and where metrics are. Returns where the app has its own, as JSON.
pub(super) fn annotate(pod: &mut Value, settings: &InjectSettings, captures: bool) -> String {
    let first = pod.pointer("/spec/containers/0/name").cloned();
    let Some(annotations) = map(pod, "annotations") else { return String::new() };
    let volumes: Vec<Value> = volumes().iter().map(|it| it["name"].clone()).collect();
    let containers = if captures { vec![INIT, PROXY] } else { vec![PROXY] };
    let status = json!({
        "initContainers": containers,
        "containers": null,
        "volumes": volumes,
        "imagePullSecrets": null,
        "revision": settings.revision,
    });
    annotations.insert(STATUS_ANNOTATION.to_owned(), json!(status.to_string()));
    annotations.insert(REVISION.to_owned(), json!(settings.revision));
    for name in ["kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"] {
        if let Some(first) = &first {
            annotations.entry(name).or_insert_with(|| first.clone());
        }
    }
    merge_metrics(annotations)
}

/// Has the sidecar scraped, which adds the metrics of the app: scrapers have no identity of the mesh either.
fn merge_metrics(annotations: &mut Map<String, Value>) -> String {
    let says = |name: &str| annotations.get(name).and_then(Value::as_str);
    if says(MERGE) == Some("false") || says("prometheus.io/scrape") == Some("false") {
        return String::new();
    }
    let mut app = Map::new();
    if says("prometheus.io/scrape") == Some("true") {
        let port = says("prometheus.io/port").and_then(|it| it.parse::<u16>().ok()).unwrap_or(80);
        app.insert("port".to_owned(), json!(port));
        app.insert("path".to_owned(), json!(says("prometheus.io/path").unwrap_or("/metrics")));
        if let Some(scheme) = says("prometheus.io/scheme") {
            app.insert("scheme".to_owned(), json!(scheme));
        }
    }
    annotations.remove("prometheus.io/scheme");
    for (name, value) in [
        ("prometheus.io/scrape", "true".to_owned()),
        ("prometheus.io/port", AGENT_PORT.to_string()),
        ("prometheus.io/path", "/stats/prometheus".to_owned()),
    ] {
        annotations.insert(name.to_owned(), json!(value));
    }
    if app.is_empty() { String::new() } else { Value::Object(app).to_string() }
}

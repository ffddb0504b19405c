//! The chart's files that are no templates.

use serde_json::{Value, json};
use sluice::install::{Facts, GATEWAY_API_INSTALL, Key, Type};
use sluice::profile;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const MADE: &str = "# Made by UPDATE_CHART=1 cargo test -p sluice --test chart\n";

pub(crate) fn all() -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("Chart.yaml".to_owned(), chart()),
        ("README.md".to_owned(), readme()),
        ("values.schema.json".to_owned(), serde_json::to_string_pretty(&schema()).unwrap() + "\n"),
        ("templates/NOTES.txt".to_owned(), notes().to_owned()),
    ]);
    for name in profile::names() {
        let file = if name == "default" { "values.yaml".to_owned() } else { format!("values-{name}.yaml") };
        files.insert(file, format!("{MADE}{}", profile::dump(&profile::read(name).unwrap())));
    }
    files
}

fn chart() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{MADE}apiVersion: v2
name: sluice
description: The Sluice controller, a Gateway API implementation on Pingora.
type: application
version: {version}
appVersion: {version:?}
kubeVersion: \">=1.31.0-0\"
"
    )
}

fn notes() -> &'static str {
    "{{- /* Made by UPDATE_CHART=1 cargo test -p sluice --test chart */ -}}
The controller takes Gateways of the class {{ .Values.gatewayClass }}:

  kubectl -n {{ .Release.Namespace }} rollout status deployment/sluice-controller
  sluice status --controller-namespace {{ .Release.Namespace }}
"
}

fn readme() -> String {
    let mut text = format!(
        "# The Sluice chart

The same objects as `sluice install`, made from the same source. The Gateway API's CRDs belong to the cluster and come
first:

```sh
{GATEWAY_API_INSTALL}
helm install sluice deploy/chart --namespace sluice-system --create-namespace
```

`values.yaml` is the profile `default`; `-f deploy/chart/values-minimal.yaml` and `values-demo.yaml` are the others. Helm
makes the namespace without labels: `kubectl label namespace sluice-system
pod-security.kubernetes.io/enforce=restricted` holds its pods to the restricted standard, which they meet. Helm never
changes or removes the CRD of GatewayParameters: before an upgrade `kubectl apply --server-side -f deploy/chart/crds`.

| value | default | meaning |
|---|---|---|
"
    );
    for key in Key::ALL {
        let Facts { name, r#type, default, help } = key.facts();
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let word = r#type.word().replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {default} | {help} ({word}) |");
    }
    let _ = writeln!(text, "\nMade by `UPDATE_CHART=1 cargo test -p sluice --test chart`.");
    text
}

/// A value of another type, or a key that does not exist, is refused by Helm.
fn schema() -> Value {
    let mut root = object();
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["properties"]["global"] = json!({ "type": "object" });
    for key in Key::ALL {
        let mut place = &mut root;
        let parts: Vec<&str> = key.name().split('.').collect();
        let (leaf, parents) = parts.split_last().unwrap();
        for parent in parents {
            let properties = place["properties"].as_object_mut().unwrap();
            place = properties.entry(*parent).or_insert_with(object);
        }
        place["properties"][*leaf] = schema_of(key);
    }
    root
}

fn object() -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": {} })
}

pub(crate) fn schema_of(key: Key) -> Value {
    let Facts { r#type, help, .. } = key.facts();
    let mut schema = match r#type {
        Type::Bool => json!({ "type": "boolean" }),
        Type::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Type::Quantity => json!({ "type": ["string", "number"], "minLength": 1 }),
        Type::OptionalQuantity => json!({ "type": ["string", "number"] }),
        Type::OptionalName => json!({ "type": "string" }),
        Type::Image | Type::Name | Type::ControllerName | Type::Filter => {
            json!({ "type": "string", "minLength": 1 })
        }
        Type::Choice(words) => json!({ "enum": words }),
    };
    schema["description"] = json!(help);
    schema
}

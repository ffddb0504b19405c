//! Definitions of the Istio kinds that Sluice reads, as open as they can be: what a field means is Sluice's to judge here.

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition as Definition;
use serde_json::json;

/// Kind, plural and first part of the group.
const KINDS: [(&str, &str, &str); 7] = [
    ("ServiceEntry", "serviceentries", "networking"),
    ("DestinationRule", "destinationrules", "networking"),
    ("Sidecar", "sidecars", "networking"),
    ("AuthorizationPolicy", "authorizationpolicies", "security"),
    ("PeerAuthentication", "peerauthentications", "security"),
    ("RequestAuthentication", "requestauthentications", "security"),
    ("Telemetry", "telemetries", "telemetry"),
];

/// One definition for each kind.
pub(crate) fn definitions() -> Result<Vec<Definition>> {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    KINDS
        .iter()
        .map(|(kind, plural, group)| {
            let definition = json!({
                "metadata": {"name": format!("{plural}.{group}.istio.io")},
                "spec": {
                    "group": format!("{group}.istio.io"),
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(),
                              "listKind": format!("{kind}List")},
                    "scope": "Namespaced",
                    "versions": [{
                        "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema":
                                   {"type": "object", "properties": {"spec": any, "status": any}}},
                    }],
                },
            });
            Ok(serde_json::from_value(definition)?)
        })
        .collect()
}

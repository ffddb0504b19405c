//! The selectors of `deploy/base/webhook.yaml` and the decision in code say the same, for every combination of labels.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use sluice_controller::inject::{Decision, InjectSettings, Place, decide};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

type Labels = BTreeMap<String, String>;

const KEYS: [&str; 4] = ["sluice.dev/inject", "istio-injection", "istio.io/rev", "sidecar.istio.io/inject"];
const VALUES: [Option<&str>; 7] =
    [None, Some("true"), Some("false"), Some("enabled"), Some("disabled"), Some("default"), Some("other")];

fn webhooks() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base/webhook.yaml");
    let object: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    object["webhooks"].as_array().unwrap().clone()
}

/// Whether a label selector holds (Kubernetes, LabelSelectorRequirement).
fn holds(selector: &Value, labels: &Labels) -> bool {
    selector["matchExpressions"].as_array().unwrap().iter().all(|term| {
        let has = labels.get(term["key"].as_str().unwrap());
        let listed = || {
            let values: Vec<&str> =
                term["values"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            has.is_some_and(|it| values.contains(&it.as_str()))
        };
        match term["operator"].as_str().unwrap() {
            "In" => listed(),
            "NotIn" => !listed(),
            "Exists" => has.is_some(),
            "DoesNotExist" => has.is_none(),
            other => panic!("{other}"),
        }
    })
}

/// Every combination of values of these keys.
fn combinations(keys: &[&str]) -> Vec<Labels> {
    let Some((key, rest)) = keys.split_first() else { return vec![Labels::new()] };
    let mut all = Vec::new();
    for labels in combinations(rest) {
        for value in VALUES {
            let mut labels = labels.clone();
            if let Some(value) = value {
                labels.insert((*key).to_owned(), value.to_owned());
            }
            all.push(labels);
        }
    }
    all
}

#[test]
fn the_api_server_asks_once_about_the_pods_that_get_a_sidecar_and_about_no_other() {
    let (webhooks, settings) = (webhooks(), InjectSettings::default());
    assert_eq!(webhooks.len(), 6);
    let pods = combinations(&[KEYS[0], KEYS[2], KEYS[3]]);
    for name in
        ["shop", "kube-system", "kube-public", "kube-node-lease", "local-path-storage", "sluice-system"]
    {
        for namespace in combinations(&KEYS[..3]) {
            let mut selected = namespace.clone();
            selected.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
            let candidates: Vec<&Value> =
                webhooks.iter().filter(|it| holds(&it["namespaceSelector"], &selected)).collect();
            for labels in &pods {
                let asks = candidates.iter().filter(|it| holds(&it["objectSelector"], labels)).count();
                let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": []}});
                let decision = decide(&pod, Place { namespace: name, labels: Some(&namespace) }, &settings);
                let wanted = usize::from(decision == Decision::Inject);
                assert_eq!(asks, wanted, "namespace {name} {namespace:?}, pod {labels:?}: {decision:?}");
            }
        }
    }
}

#[test]
fn an_unlabelled_namespace_depends_on_nobody() {
    let labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), "shop".to_owned())]);
    for webhook in webhooks() {
        let asked = holds(&webhook["namespaceSelector"], &labels)
            && holds(&webhook["objectSelector"], &Labels::new());
        assert!(!asked, "{}", webhook["name"]);
        assert_eq!(webhook["failurePolicy"], "Fail");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE"]));
        assert_eq!(webhook["rules"][0]["resources"], json!(["pods"]));
    }
}

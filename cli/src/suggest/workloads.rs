//! From pods to workloads: pods with the same telling labels are one, and a policy selects them by these.

use super::{Found, Observed, Target, Workload};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use sluice_proxy::telemetry::seen::SeenCalls;
use std::collections::{BTreeMap, BTreeSet};

/// Labels that tell what a pod is, and stay when its version does not.
const TELLING: [&str; 5] =
    ["app", "k8s-app", "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"];
/// The label that every pod with a sidecar has.
const CANONICAL: &str = "service.istio.io/canonical-name";
/// Longest name of an object that is a label of DNS.
const NAME_BYTES: usize = 63;

/// What became of asking a pod: what its sidecar has seen, or why that is not known.
pub(super) type Asked = (Pod, Result<SeenCalls, String>);

/// Workloads with what their pods have seen together. `prefix` begins the names of their policies.
pub(super) fn group(asked: Vec<Asked>, prefix: &str) -> Found {
    let mut found = Found::default();
    let mut by_labels: BTreeMap<BTreeMap<String, String>, Observed> = BTreeMap::new();
    for (pod, seen) in asked {
        let name = pod.name_any();
        let labels = telling(pod.labels());
        match seen {
            Ok(seen) if labels.is_empty() => {
                let labels = [&TELLING[..], &[CANONICAL]].concat().join(", ");
                let count = seen.inbound.len();
                found.notes.push(format!(
                    "Pod {name} has none of the labels {labels}: no policy can select it; {count} shapes of calls to it are left out."
                ));
            }
            Ok(seen) => by_labels.entry(labels).or_default().add(seen),
            Err(why) => {
                found.notes.push(format!("Pod {name} could not be asked: {why}. Its calls are missing here."))
            }
        }
    }
    let all: Vec<_> = by_labels.keys().cloned().collect();
    let mut taken = BTreeSet::new();
    for (labels, observed) in by_labels {
        let policy = free_name(&name_of(prefix, &labels), &mut taken);
        let is_wider = |it: &&BTreeMap<String, String>| {
            **it != labels && labels.iter().all(|(name, value)| it.get(name) == Some(value))
        };
        for others in all.iter().filter(is_wider) {
            let others = name_of(prefix, others);
            found
                .notes
                .push(format!("{policy} selects the pods of {others} too: give them labels that differ."));
        }
        let is_called = observed.calls.keys().any(|it| matches!(it.to, super::Destination::Here(_)));
        if !is_called {
            found.notes.push(format!("{policy}: nothing was seen to be called, and so there is no policy."));
        }
        found.workloads.push(Workload { policy, target: Target::Pods(labels), observed });
    }
    found
}

fn telling(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let of = |names: &[&str]| -> BTreeMap<String, String> {
        let known = names.iter().filter_map(|name| labels.get_key_value(*name));
        known.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let telling = of(&TELLING);
    if telling.is_empty() { of(&[CANONICAL]) } else { telling }
}

/// `PREFIX-VALUE-VALUE`, as a name of DNS.
fn name_of(prefix: &str, labels: &BTreeMap<String, String>) -> String {
    let values: BTreeSet<&str> = labels.values().map(String::as_str).collect();
    let mut name = prefix.to_owned();
    for value in values {
        name.push('-');
        name.extend(
            value.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' }),
        );
    }
    name.truncate(NAME_BYTES);
    name.trim_matches('-').to_owned()
}

fn free_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| {
        let number = format!("-{number}");
        let most = NAME_BYTES - number.len();
        format!("{}{number}", name.get(..most).unwrap_or(name))
    });
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|it| taken.insert(it.clone())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Asked, group};
    use crate::suggest::Target;
    use sluice_proxy::telemetry::seen::{CallResult, SeenCalls, SeenInbound, Times};

    fn pod(name: &str, labels: &[(&str, &str)], path: Option<&str>) -> Asked {
        let mut pod = k8s_openapi::api::core::v1::Pod::default();
        pod.metadata.name = Some(name.to_owned());
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pod.metadata.labels = Some(labels.collect());
        let seen = path.map(|path| SeenCalls {
            inbound: vec![SeenInbound {
                caller: Some("spiffe://td/ns/shop/sa/web".to_owned()),
                port: 80,
                method: "GET".to_owned(),
                path: path.to_owned(),
                grpc: false,
                result: CallResult::Answered,
                times: Times { count: 3, ..Times::default() },
            }],
            ..SeenCalls::default()
        });
        (pod, seen.ok_or_else(|| "it has no sidecar".to_owned()))
    }

    #[test]
    fn pods_of_one_workload_are_one_whatever_their_version() {
        let found = group(
            vec![
                pod("a", &[("app", "reviews"), ("version", "v1"), ("pod-template-hash", "1")], Some("/")),
                pod("b", &[("app", "reviews"), ("version", "v2"), ("pod-template-hash", "2")], Some("/")),
                pod("c", &[("service.istio.io/canonical-name", "job"), ("x", "y")], Some("/")),
                pod("d", &[("app", "plain")], None),
                pod("e", &[("version", "v1")], Some("/")),
            ],
            "suggested",
        );
        let made: Vec<_> =
            found.workloads.iter().map(|it| (it.policy.as_str(), it.observed.answered())).collect();
        assert_eq!(made, [("suggested-reviews", 6), ("suggested-job", 3)]);
        let labels = |name: &str, value: &str| Target::Pods([(name.to_owned(), value.to_owned())].into());
        assert_eq!(found.workloads[0].target, labels("app", "reviews"));
        assert_eq!(found.workloads[1].target, labels("service.istio.io/canonical-name", "job"));
        let notes = found.notes.join("\n");
        assert!(notes.contains("Pod d could not be asked: it has no sidecar."), "{notes}");
        assert!(notes.contains("Pod e has none of the labels"), "{notes}");
    }

    #[test]
    fn a_selector_that_fits_others_is_told_and_no_name_is_taken_twice() {
        let found = group(
            vec![
                pod("a", &[("app", "a.b")], Some("/")),
                pod("b", &[("app", "a-b")], Some("/")),
                pod("c", &[("app", "a-b"), ("k8s-app", "other")], Some("/")),
            ],
            "suggested",
        );
        let names: Vec<_> = found.workloads.iter().map(|it| it.policy.as_str()).collect();
        assert_eq!(names, ["suggested-a-b", "suggested-a-b-other", "suggested-a-b-2"]);
        let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
        assert!(note.starts_with("suggested-a-b selects the pods of suggested-a-b-other too"), "{note}");
    }
}

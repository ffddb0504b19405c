//! One AdmissionReview (`admission.k8s.io/v1`): a pod and the question whether it may be made; the answer is yes, with a
//! patch, or no, with the reason. Pure.

use crate::inject::{Decision, InjectSettings, Owner, Place, Reason, decide, inject};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

const API_VERSION: &str = "admission.k8s.io/v1";

/// What of a review is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    operation: String,
    kind: Kind,
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// What came of a question, for the log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod gets its sidecar.
    Injected,
    /// The pod stays as it is.
    Skipped(Reason),
    /// The pod is not made.
    Refused(String),
}

/// An answer, and what it says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The AdmissionReview to send.
    pub body: Value,
    /// What came of it.
    pub verdict: Verdict,
    /// Namespace of the pod.
    pub namespace: String,
    /// What the pod belongs to: `Deployment/web`.
    pub owner: String,
}

/// Answers a review. `None`: it is none, or not about a new pod.
pub fn answer(body: &[u8], settings: &InjectSettings) -> Option<Answer> {
    let Review { api_version, request } = serde_json::from_slice(body).ok()?;
    if api_version != API_VERSION || request.kind.kind != "Pod" || request.operation != "CREATE" {
        return None;
    }
    let owner = Owner::of(&request.object);
    let (verdict, patch) = judge(&request, &owner, settings);
    let mut response = json!({"uid": request.uid, "allowed": true});
    if let Some(patch) = patch {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    if let Verdict::Refused(message) = &verdict {
        response["allowed"] = json!(false);
        response["status"] =
            json!({"status": "Failure", "code": 422, "reason": "Invalid", "message": message});
    }
    Some(Answer {
        body: json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}),
        verdict,
        namespace: request.namespace,
        owner: format!("{}/{}", owner.kind, owner.name),
    })
}

fn judge(request: &Request, owner: &Owner, settings: &InjectSettings) -> (Verdict, Option<Value>) {
    // The selectors have chosen the namespace.
    let place = Place { namespace: &request.namespace, labels: None };
    if let Decision::Skip(reason) = decide(&request.object, place, settings) {
        return (Verdict::Skipped(reason), None);
    }
    let mut pod = request.object.clone();
    match inject(&mut pod, owner, settings) {
        Ok(()) => (Verdict::Injected, Some(patch(&request.object, &pod))),
        Err(error) => (Verdict::Refused(format!("no sidecar for this pod: {error}")), None),
    }
}

/// A JSONPatch (RFC 6902) that makes `after` of `before`: each field of metadata and spec that differs, whole. `add`
/// replaces what is there (§4.1).
fn patch(before: &Value, after: &Value) -> Value {
    let mut steps = Vec::new();
    for part in ["metadata", "spec"] {
        let (Some(old), Some(new)) = (before.get(part), after.get(part)) else {
            if let Some(new) = after.get(part) {
                steps.push(json!({"op": "add", "path": format!("/{part}"), "value": new}));
            }
            continue;
        };
        for (field, value) in new.as_object().into_iter().flatten() {
            if old.get(field) != Some(value) {
                steps.push(json!({"op": "add", "path": format!("/{part}/{field}"), "value": value}));
            }
        }
    }
    Value::Array(steps)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Verdict, answer};
    use crate::inject::{InjectSettings, Reason};
    use base64::Engine as _;
    use serde_json::{Value, json};

    fn ask(pod: &Value) -> super::Answer {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop",
                        "operation": "CREATE", "object": pod},
        });
        answer(review.to_string().as_bytes(), &InjectSettings::default()).unwrap()
    }

    #[test]
    fn a_pod_is_allowed_with_a_patch_of_whole_fields() {
        let pod = json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "web"}], "nodeName": "n"}});
        let answer = ask(&pod);
        assert_eq!(answer.verdict, Verdict::Injected);
        let response = &answer.body["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        let patch = response["patch"].as_str().unwrap();
        let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        let steps: Vec<Value> = serde_json::from_slice(&patch).unwrap();
        let paths: Vec<_> = steps.iter().map(|it| it["path"].as_str().unwrap()).collect();
        assert_eq!(
            paths,
            ["/metadata/annotations", "/metadata/labels", "/spec/initContainers", "/spec/volumes"]
        );
        assert!(steps.iter().all(|it| it["op"] == "add"));
    }

    #[test]
    fn a_pod_that_gets_none_is_allowed_as_it_is_and_a_wrong_one_is_refused_with_the_reason() {
        let skipped = ask(&json!({"metadata": {}, "spec": {"hostNetwork": true}}));
        assert_eq!(skipped.verdict, Verdict::Skipped(Reason::HostNetwork));
        assert_eq!(skipped.body["response"], json!({"uid": "u-1", "allowed": true}));
        let wrong =
            ask(&json!({"metadata": {"annotations": {"sidecar.istio.io/logLevel": "loud"}}, "spec": {}}));
        assert_eq!(wrong.body["response"]["allowed"], false);
        let told = wrong.body["response"]["status"]["message"].as_str().unwrap();
        assert!(told.contains("sidecar.istio.io/logLevel") && told.contains("\"loud\""), "{told}");
    }

    #[test]
    fn what_is_no_review_of_a_new_pod_has_no_answer() {
        let settings = InjectSettings::default();
        for body in ["", "{}", "[]", "{\"apiVersion\":\"admission.k8s.io/v1beta1\"}"] {
            assert!(answer(body.as_bytes(), &settings).is_none(), "{body}");
        }
        let deleted = json!({"apiVersion": "admission.k8s.io/v1", "request": {
            "uid": "u", "kind": {"kind": "Pod"}, "operation": "DELETE"}});
        assert!(answer(deleted.to_string().as_bytes(), &settings).is_none());
    }
}

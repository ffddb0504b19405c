//! A stream of YAML documents: those with pods get sidecars, all others stay as they are. Pure.

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use sluice_controller::inject::{Decision, InjectSettings, Owner, Place, decide, inject as inject_pod};

/// What came of a stream.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The stream.
    pub(super) text: String,
    /// Objects with pods that got no sidecar, and why.
    pub(super) remarks: Vec<String>,
}

/// Where each kind has its pod: API group, kind, path.
const KINDS: [(&str, &str, &str); 8] = [
    ("", "Pod", ""),
    ("", "ReplicationController", "/spec/template"),
    ("apps", "Deployment", "/spec/template"),
    ("apps", "StatefulSet", "/spec/template"),
    ("apps", "DaemonSet", "/spec/template"),
    ("apps", "ReplicaSet", "/spec/template"),
    ("batch", "Job", "/spec/template"),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template"),
];

/// Injects all documents of a text.
pub(super) fn inject(text: &str, namespace: &str, settings: &InjectSettings) -> anyhow::Result<Done> {
    let mut done = Done::default();
    let mut line = 1;
    for piece in pieces(text) {
        let injected = document(piece, namespace, settings, &mut done.remarks);
        let injected = injected.with_context(|| format!("document at line {line}"))?;
        done.text.push_str(injected.as_deref().unwrap_or(piece));
        line += piece.matches('\n').count();
    }
    Ok(done)
}

/// The documents of a text; together they are the text. A line that begins with `---` starts one (YAML 1.2.2 §9.1.2).
fn pieces(text: &str) -> Vec<&str> {
    let is_marker = |line: &str| {
        line.strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let (mut pieces, mut begin, mut end) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if is_marker(line) && end > begin {
            pieces.extend(text.get(begin..end));
            begin = end;
        }
        end += line.len();
    }
    pieces.extend(text.get(begin..end).filter(|it| !it.is_empty()));
    pieces
}

/// The document with sidecars; `None`: it stays as it is.
fn document(
    piece: &str,
    namespace: &str,
    settings: &InjectSettings,
    remarks: &mut Vec<String>,
) -> anyhow::Result<Option<String>> {
    let head_length = head_length(piece);
    let (head, body) = piece.split_at(head_length);
    if body.trim().is_empty() || body.trim() == "..." {
        return Ok(None);
    }
    let mut value: Value = serde_saphyr::from_str(piece).map_err(|error| anyhow!("not YAML: {error}"))?;
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|it| it.ends_with("List"));
    let mut is_changed = false;
    match value.get_mut("items").and_then(Value::as_array_mut).filter(|_| is_list) {
        Some(items) => {
            for item in items {
                is_changed |= object(item, namespace, settings, remarks)?;
            }
        }
        None => is_changed = object(&mut value, namespace, settings, remarks)?,
    }
    if !is_changed {
        return Ok(None);
    }
    let yaml = serde_saphyr::to_string(&value).context("can't write YAML")?;
    Ok(Some(format!("{head}{yaml}")))
}

/// Bytes of the marker, blank lines and comments before the content, which an injected document keeps.
fn head_length(piece: &str) -> usize {
    let is_head = |line: &&str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---" || line.starts_with("--- #")
    };
    piece.split_inclusive('\n').take_while(is_head).map(str::len).sum()
}

/// Whether an object got a sidecar.
fn object(
    object: &mut Value,
    namespace: &str,
    settings: &InjectSettings,
    remarks: &mut Vec<String>,
) -> anyhow::Result<bool> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let Some((_, _, path)) = KINDS.into_iter().find(|it| it.0 == group && it.1 == kind) else {
        return Ok(false);
    };
    let name = text("/metadata/name");
    let own = text("/metadata/namespace");
    let namespace = if own.is_empty() { namespace } else { &own };
    let title = format!("{kind} {namespace}/{name}");
    let owner = if kind == "Pod" { Owner::of(object) } else { Owner { kind, name } };
    let pod = object.pointer_mut(path).with_context(|| format!("{title} has no {path}"))?;
    if let Decision::Skip(reason) = decide(pod, Place { namespace, labels: None }, settings) {
        remarks.push(format!("{title}: no sidecar: {reason}"));
        return Ok(false);
    }
    inject_pod(pod, &owner, settings).with_context(|| title)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{inject, pieces};
    use serde_json::Value;
    use sluice_controller::inject::InjectSettings;

    const SERVICE: &str =
        "# the way to the shop\napiVersion: v1\nkind: Service   # a comment\nmetadata: {name: web}\n";

    fn injected(text: &str) -> super::Done {
        inject(text, "shop", &InjectSettings::default()).unwrap()
    }

    fn deployment(more: &str) -> String {
        format!(
            "---\n# the shop\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  template:\n    \
             metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: web}}]{more}}}\n"
        )
    }

    #[test]
    fn what_has_no_pods_goes_out_as_it_came() {
        let text = format!("{SERVICE}---\n\n# nothing\n---\n{{\"kind\": \"List\", \"items\": []}}\n...\n");
        assert_eq!(injected(&text).text, text);
        assert_eq!(pieces(&text).concat(), text);
        assert_eq!(injected("").text, "");
    }

    #[test]
    fn only_the_document_with_pods_changes_and_keeps_its_first_comment() {
        let done = injected(&format!("{SERVICE}{}", deployment("")));
        let rest = done.text.strip_prefix(SERVICE).unwrap();
        assert!(rest.starts_with("---\n# the shop\napiVersion: apps/v1\n"), "{rest}");
        let value: Value = serde_saphyr::from_str(rest).unwrap();
        let template = &value["spec"]["template"];
        assert_eq!(template["spec"]["initContainers"][1]["name"], "sluice-proxy");
        assert_eq!(template["metadata"]["labels"]["service.istio.io/canonical-name"], "web");
        assert!(done.remarks.is_empty());
        // What was injected is injected.
        let again = injected(&done.text);
        assert_eq!(again.text, done.text);
        assert_eq!(again.remarks, ["Deployment shop/web: no sidecar: it has a sidecar"]);
    }

    #[test]
    fn every_kind_with_pods_gets_sidecars_also_in_a_list() {
        let pod = "{containers: [{name: a, image: a}]}";
        let of = |api_version: &str, kind: &str, spec: &str| {
            format!("  - {{apiVersion: {api_version}, kind: {kind}, metadata: {{name: x}}, spec: {spec}}}\n")
        };
        let template = format!("{{template: {{spec: {pod}}}}}");
        let mut list = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"] {
            list += &of("apps/v1", kind, &template);
        }
        list += &of("v1", "Pod", pod);
        list += &of("v1", "ReplicationController", &template);
        list += &of("batch/v1", "Job", &template);
        list += &of("batch/v1", "CronJob", &format!("{{jobTemplate: {{spec: {template}}}}}"));
        list += &of("v1", "Service", "{}");
        let done = injected(&list);
        assert_eq!(done.text.matches("restartPolicy: Always").count(), 8, "{}", done.text);
        assert!(done.text.contains("value: CronJob"), "{}", done.text);
    }

    #[test]
    fn what_gets_none_says_why_and_what_is_wrong_has_a_name_and_a_line() {
        let done = injected(&deployment(", hostNetwork: true"));
        assert_eq!(done.text, deployment(", hostNetwork: true"));
        assert!(done.remarks[0].contains("Deployment shop/web") && done.remarks[0].contains("hostNetwork"));
        let told =
            |text: &str| format!("{:#}", inject(text, "shop", &InjectSettings::default()).unwrap_err());
        let wrong =
            deployment("").replace("labels:", "annotations: {sidecar.istio.io/logLevel: loud}, labels:");
        let error = told(&format!("{SERVICE}{wrong}"));
        assert!(error.contains("line 5") && error.contains("Deployment shop/web"), "{error}");
        assert!(error.contains("sidecar.istio.io/logLevel"), "{error}");
        assert!(told("a: [\n").contains("not YAML"));
    }
}

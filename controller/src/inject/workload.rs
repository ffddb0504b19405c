//! What a pod is part of: the name that people know it by.

use serde_json::Value;

/// The object that pods belong to: a Deployment rather than its ReplicaSet, a CronJob rather than its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Label of the pods of one ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

impl Owner {
    /// Whom a pod belongs to: by its owner references; a pod of nobody belongs to itself.
    pub fn of(pod: &Value) -> Self {
        let references = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let controls = |it: &&Value| it.get("controller").and_then(Value::as_bool) == Some(true);
        let text =
            |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(owner) = references.into_iter().flatten().find(controls) else {
            let metadata = pod.get("metadata").unwrap_or(&Value::Null);
            let name = match text(metadata, "name") {
                name if name.is_empty() => text(metadata, "generateName").trim_end_matches('-').to_owned(),
                name => name,
            };
            return Self { kind: "Pod".to_owned(), name };
        };
        let (kind, name) = (text(owner, "kind"), text(owner, "name"));
        match kind.as_str() {
            "ReplicaSet" => match of_template(pod, &name) {
                Some(name) => Self { kind: "Deployment".to_owned(), name },
                None => Self { kind, name },
            },
            "Job" => match of_schedule(&name) {
                Some(name) => Self { kind: "CronJob".to_owned(), name },
                None => Self { kind, name },
            },
            _ => Self { kind, name },
        }
    }
}

/// The Deployment of a ReplicaSet, whose name ends in the hash of the template.
fn of_template(pod: &Value, name: &str) -> Option<String> {
    let hash = pod.pointer("/metadata/labels")?.get(TEMPLATE_HASH)?.as_str()?;
    Some(name.strip_suffix(hash)?.strip_suffix('-')?.to_owned())
}

/// The CronJob of a Job, whose name ends in a time: minutes since 1970, in older versions seconds.
fn of_schedule(name: &str) -> Option<String> {
    let (name, time) = name.rsplit_once('-')?;
    ((8..=10).contains(&time.len()) && time.bytes().all(|it| it.is_ascii_digit())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Owner;
    use serde_json::json;

    #[test]
    fn pods_belong_to_what_people_have_written() {
        let of = |kind: &str, name: &str, hash: &str| {
            let owner = Owner::of(&json!({"metadata": {
                "labels": {"pod-template-hash": hash},
                "ownerReferences": [{"kind": "Node", "name": "x"}, {"kind": kind, "name": name, "controller": true}],
            }}));
            format!("{}/{}", owner.kind, owner.name)
        };
        assert_eq!(of("ReplicaSet", "web-5d8f7c", "5d8f7c"), "Deployment/web");
        assert_eq!(of("ReplicaSet", "web-5d8f7c", "other"), "ReplicaSet/web-5d8f7c");
        assert_eq!(of("Job", "backup-29384756", ""), "CronJob/backup");
        assert_eq!(of("Job", "backup-2", ""), "Job/backup-2");
        assert_eq!(of("StatefulSet", "db", ""), "StatefulSet/db");
        let bare = Owner::of(&json!({"metadata": {"generateName": "web-"}}));
        assert_eq!((bare.kind.as_str(), bare.name.as_str()), ("Pod", "web"));
    }
}

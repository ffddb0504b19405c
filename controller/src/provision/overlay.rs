//! Merging a user's patch into an object, the way `kubectl patch` does by default: maps are merged, `null` takes a field
//! out, lists of named things are merged by name, other lists are replaced. Pure.

use serde_json::{Map, Value};

/// Lists whose entries have a name, by the list's field: the field that names an entry (Kubernetes API conventions,
/// `patchMergeKey`). `ports` has two: that of a container and that of a Service.
const KEYED: [(&str, &[&str]); 10] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("env", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("topologySpreadConstraints", &["topologyKey"]),
    ("hostAliases", &["ip"]),
    ("ports", &["containerPort", "port"]),
];

/// Instructs a map to go: `{"$patch": "delete", "name": "sidecar"}`.
const DIRECTIVE: &str = "$patch";

/// Merges `patch` into `object`.
pub(crate) fn merge(object: &mut Value, patch: &Value) {
    merge_field("", object, patch);
}

/// Puts back what `original` has at a path (JSON pointer); takes it out when it has nothing there.
pub(super) fn restore(object: &mut Value, original: &Value, path: &str) {
    let (parent, field) = path.rsplit_once('/').unwrap_or(("", path));
    let kept = original.pointer(path).cloned();
    if let (None, Some(kept)) = (object.pointer(parent).and_then(Value::as_object), &kept) {
        // The patch made something else of the parent: all of the original's comes back.
        let whole = original.pointer(parent).cloned().unwrap_or_else(|| kept.clone());
        if let Some((above, name)) = parent.rsplit_once('/')
            && let Some(above) = object.pointer_mut(above).and_then(Value::as_object_mut)
        {
            above.insert(name.to_owned(), whole);
        }
        return;
    }
    let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match kept {
        Some(kept) => drop(fields.insert(field.to_owned(), kept)),
        None => drop(fields.remove(field)),
    }
}

fn merge_field(field: &str, object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(fields), Value::Object(patch)) => merge_maps(fields, patch),
        (Value::Array(items), Value::Array(patch)) => match key_of(field, items, patch) {
            Some(key) => merge_lists(key, items, patch),
            None => *items = clean_list(patch),
        },
        (object, patch) => *object = clean(patch),
    }
}

fn merge_maps(fields: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else if name != DIRECTIVE {
            match fields.get_mut(name) {
                Some(field) => merge_field(name, field, value),
                None => drop(fields.insert(name.clone(), clean(value))),
            }
        }
    }
}

/// The field that names the entries of both lists, if there is one.
fn key_of(field: &str, items: &[Value], patch: &[Value]) -> Option<&'static str> {
    let (_, keys) = KEYED.iter().find(|it| it.0 == field)?;
    keys.iter().copied().find(|key| items.iter().chain(patch).all(|it| it.get(*key).is_some()))
}

fn merge_lists(key: &str, items: &mut Vec<Value>, patch: &[Value]) {
    for entry in patch {
        let place = items.iter().position(|it| it.get(key) == entry.get(key));
        let goes = entry.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
        match place {
            Some(place) if goes => drop(items.remove(place)),
            Some(place) => {
                if let Some(item) = items.get_mut(place) {
                    merge_field("", item, entry);
                }
            }
            None if goes => {}
            None => items.push(clean(entry)),
        }
    }
}

/// Without directives and `null`, which mean nothing where there is nothing to merge with.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| *name != DIRECTIVE && !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), clean(value))).collect())
        }
        Value::Array(items) => Value::Array(clean_list(items)),
        other => other.clone(),
    }
}

fn clean_list(items: &[Value]) -> Vec<Value> {
    items.iter().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::{merge, restore};
    use serde_json::{Value, json};

    fn merged(mut object: Value, patch: Value) -> Value {
        merge(&mut object, &patch);
        object
    }

    #[test]
    fn maps_merge_null_removes_and_plain_lists_are_replaced() {
        let object = json!({"a": {"b": 1, "c": 2}, "args": ["x", "y"]});
        let patch = json!({"a": {"c": null, "d": {"e": null, "f": 3}}, "args": ["z"]});
        assert_eq!(merged(object, patch), json!({"a": {"b": 1, "d": {"f": 3}}, "args": ["z"]}));
    }

    #[test]
    fn lists_of_named_things_merge_by_name() {
        let object =
            json!({"containers": [{"name": "gateway", "image": "a", "env": [{"name": "X", "value": "1"}]}]});
        let patch = json!({"containers": [
            {"name": "gateway", "env": [{"name": "Y", "value": "2"}, {"name": "X", "$patch": "delete"}]},
            {"name": "sidecar", "image": "b"},
        ]});
        let wanted = json!({"containers": [
            {"name": "gateway", "image": "a", "env": [{"name": "Y", "value": "2"}]},
            {"name": "sidecar", "image": "b"},
        ]});
        assert_eq!(merged(object, patch), wanted);
        let ports = json!({"ports": [{"name": "http-80", "port": 80, "targetPort": 10080}]});
        let patch = json!({"ports": [{"port": 80, "nodePort": 30080}]});
        let wanted =
            json!({"ports": [{"name": "http-80", "port": 80, "targetPort": 10080, "nodePort": 30080}]});
        assert_eq!(merged(ports, patch), wanted);
    }

    #[test]
    fn what_must_stay_is_put_back_whatever_became_of_its_place() {
        let object = json!({"metadata": {"name": "a"}, "spec": {"selector": {"x": 1}}});
        let mut changed =
            json!({"metadata": {"name": "b", "ownerReferences": []}, "spec": {"selector": {"y": 2}}});
        for path in ["/metadata/name", "/metadata/ownerReferences", "/spec/selector"] {
            restore(&mut changed, &object, path);
        }
        assert_eq!(changed, object);
        let mut changed = json!({"metadata": {"name": "a"}, "spec": "text"});
        restore(&mut changed, &object, "/spec/selector");
        assert_eq!(changed, object);
        let mut changed = json!({"spec": {"selector": {"x": 1}}});
        restore(&mut changed, &object, "/metadata/name");
        assert_eq!(changed, object);
    }
}

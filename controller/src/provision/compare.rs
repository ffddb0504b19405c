//! Whether an object on the server is as it should be, without asking the server: it fills in many fields of its own,
//! and writes some values (quantities) its own way. Pure.

use serde_json::Value;

/// Fields that name the entries of a list, the likeliest first.
const KEYS: [&str; 7] = ["name", "port", "containerPort", "mountPath", "topologyKey", "ip", "uid"];

/// What the server has in the places that `desired` speaks of. Equal to `desired` when all is as it should be, but for
/// values that the server writes its own way.
pub(super) fn seen(desired: &Value, live: &Value) -> Value {
    match (desired, live) {
        (Value::Object(wanted), Value::Object(there)) => Value::Object(
            wanted
                .iter()
                .map(|(name, value)| (name.clone(), seen(value, there.get(name).unwrap_or(&Value::Null))))
                .collect(),
        ),
        (Value::Array(wanted), Value::Array(there)) => {
            let key = KEYS.into_iter().find(|key| {
                !wanted.is_empty() && wanted.iter().chain(there).all(|it| it.get(*key).is_some())
            });
            match key {
                Some(key) => Value::Array(
                    wanted
                        .iter()
                        .map(|entry| {
                            let same = there.iter().find(|it| it.get(key) == entry.get(key));
                            seen(entry, same.unwrap_or(&Value::Null))
                        })
                        .collect(),
                ),
                None if wanted.len() == there.len() => Value::Array(
                    wanted.iter().zip(there).map(|(wanted, there)| seen(wanted, there)).collect(),
                ),
                None => live.clone(),
            }
        }
        // The server leaves out what is empty.
        (wanted, Value::Null) if is_empty(wanted) => wanted.clone(),
        (_, live) => live.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::seen;
    use serde_json::json;

    #[test]
    fn what_the_server_adds_is_not_seen_and_what_it_changes_is() {
        let desired = json!({"spec": {"containers": [{"name": "a", "args": ["x"], "resources": {"cpu": "1000m"}}], "empty": {}}});
        let live = json!({"status": 1, "spec": {"dns": "default", "containers": [
            {"name": "injected"},
            {"name": "a", "args": ["x"], "pull": "Always", "resources": {"cpu": "1"}},
        ]}});
        let there = seen(&desired, &live);
        let wanted = json!({"spec": {"containers": [{"name": "a", "args": ["x"], "resources": {"cpu": "1"}}], "empty": {}}});
        assert_eq!(there, wanted);
        let edited =
            json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"], "resources": {"cpu": "1"}}]}});
        assert_ne!(seen(&desired, &edited), there);
        let gone = json!({"spec": {"containers": [{"name": "b"}]}});
        assert_ne!(seen(&desired, &gone), there);
    }
}

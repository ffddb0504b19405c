//! Finds fields of a manifest that its type does not have, by writing the typed object back and comparing keys.

use crate::Object;
use serde_json::Value;

/// Paths of the fields in `original` that `object` did not keep, sorted. Empty values, metadata and status don't
/// count.
pub(crate) fn fields(original: &Value, object: &Object) -> Vec<String> {
    let Ok(typed) = serde_json::to_value(object) else { return Vec::new() };
    let mut found = Vec::new();
    if let (Value::Object(original), Value::Object(typed)) = (original, &typed) {
        for (key, value) in original {
            if matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                continue;
            }
            compare(key.clone(), value, typed.get(key), &mut found);
        }
    }
    found.sort();
    found
}

fn compare(path: String, original: &Value, typed: Option<&Value>, found: &mut Vec<String>) {
    if is_empty(original) {
        return;
    }
    match (original, typed) {
        (_, None) => found.push(path),
        (Value::Object(original), Some(Value::Object(typed))) => {
            for (key, value) in original {
                compare(format!("{path}.{key}"), value, typed.get(key), found);
            }
        }
        (Value::Array(original), Some(Value::Array(typed))) if original.len() == typed.len() => {
            for (index, (value, typed)) in original.iter().zip(typed).enumerate() {
                compare(format!("{path}[{index}]"), value, Some(typed), found);
            }
        }
        (_, Some(_)) => {}
    }
}

/// What a type may leave out when it is written back.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

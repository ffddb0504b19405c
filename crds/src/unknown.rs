//! Finds fields of a manifest that its type does not have, by writing the typed object back and comparing keys.

use crate::Object;
use serde_json::{Map, Value};

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
                compare(format!("{path}.{key}"), value, kept(typed, key), found);
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

/// What was kept of a field. One that may also be written as protobuf has it (`jwks_uri`) is written back as Kubernetes does.
fn kept<'a>(typed: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    typed.get(key).or_else(|| typed.get(&camel_case(key)))
}

fn camel_case(key: &str) -> String {
    let mut parts = key.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut whole, part| {
        let mut letters = part.chars();
        whole.extend(letters.next().map(|it| it.to_ascii_uppercase()));
        whole + letters.as_str()
    })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use crate::{Object, Parsed};
    use serde_json::{Value, json};

    fn unknown(rule: Value) -> Vec<String> {
        let manifest = json!({
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
            "metadata": {"name": "jwt", "namespace": "shop"}, "spec": {"jwtRules": [rule]},
        });
        match Object::parse(manifest, "default").unwrap() {
            Parsed::Known { unknown_fields, .. } => unknown_fields,
            Parsed::Ignored { .. } => panic!("it is read"),
        }
    }

    #[test]
    fn a_field_that_has_two_spellings_is_known_by_both_and_others_by_one() {
        let keys = "https://id.example.com/keys";
        assert_eq!(unknown(json!({"issuer": "me", "jwks_uri": keys})), [""; 0]);
        assert_eq!(unknown(json!({"issuer": "me", "jwksUri": keys})), [""; 0]);
        let others = json!({"issuer": "me", "jwksURI": keys, "from_params": ["token"]});
        assert_eq!(unknown(others), ["spec.jwtRules[0].from_params", "spec.jwtRules[0].jwksURI"]);
    }
}

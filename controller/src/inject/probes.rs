//! Probes of apps, rewritten so that the sidecar answers them.
//!
//! A kubelet has no identity of the mesh: under STRICT its probes would be refused. So it asks the sidecar, on a port that
//! is not captured, and the sidecar asks the app, by the table that this module makes: path → what was there before.
//! Probes that run a program in the container, and those of another host, stay as they are.

use super::InjectError;
use super::containers::AGENT_PORT;
use serde_json::{Map, Value, json};

/// Field of a container, and how its path ends.
const PROBES: [(&str, &str); 3] =
    [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")];
const HOOKS: [(&str, &str); 2] = [("postStart", "poststartz"), ("preStop", "prestopz")];
/// What a kubelet waits for the answer of a hook, at least: as long as the pod's grace period is, by default.
const HOOK_SECONDS: u32 = 30;

/// Rewrites the probes and hooks of one container and adds to the table what they were.
pub(super) fn rewrite(container: &mut Value, table: &mut Map<String, Value>) -> Result<(), InjectError> {
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ports = container.get("ports").cloned().unwrap_or(Value::Null);
    for (field, end) in PROBES {
        let Some(probe) = container.get_mut(field) else { continue };
        let seconds = probe.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(1);
        let path = format!("/app-health/{name}/{end}");
        if let Some(mut asked) = moved(probe, &path, &ports, (&name, field))? {
            asked["timeoutSeconds"] = json!(seconds);
            table.insert(path, asked);
        }
    }
    for (field, end) in HOOKS {
        let Some(hook) = container.pointer_mut(&format!("/lifecycle/{field}")) else { continue };
        let path = format!("/app-lifecycle/{name}/{end}");
        if let Some(mut asked) = moved(hook, &path, &ports, (&name, field))? {
            asked["timeoutSeconds"] = json!(HOOK_SECONDS);
            table.insert(path, asked);
        }
    }
    Ok(())
}

/// Puts a question to the sidecar in the place of what a handler does; gives back what it did.
fn moved(
    handler: &mut Value,
    path: &str,
    ports: &Value,
    (container, field): (&str, &'static str),
) -> Result<Option<Value>, InjectError> {
    let Some(fields) = handler.as_object_mut() else { return Ok(None) };
    let Some(kind) = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|it| fields.contains_key(*it)) else {
        return Ok(None);
    };
    let Some(action) = fields.get(kind).and_then(Value::as_object) else { return Ok(None) };
    if action.get("host").and_then(Value::as_str).is_some_and(|it| !it.is_empty()) {
        return Ok(None);
    }
    let port = action.get("port").unwrap_or(&Value::Null);
    let Some(number) = number(port, ports) else {
        let port = port.as_str().map_or_else(|| port.to_string(), str::to_owned);
        return Err(InjectError::Port { container: container.to_owned(), probe: field, port });
    };
    if number == u64::from(AGENT_PORT) {
        return Ok(None);
    }
    let mut asked = action.clone();
    asked.insert("port".to_owned(), json!(number));
    if kind == "httpGet" {
        asked.entry("path").or_insert_with(|| json!("/"));
        asked.entry("scheme").or_insert_with(|| json!("HTTP"));
    }
    fields.remove(kind);
    fields.insert("httpGet".to_owned(), json!({"path": path, "port": AGENT_PORT, "scheme": "HTTP"}));
    Ok(Some(json!({kind: asked})))
}

/// A port that may be a container's by name.
fn number(port: &Value, ports: &Value) -> Option<u64> {
    let text = match port {
        Value::Number(number) => return number.as_u64(),
        Value::String(text) => text,
        _ => return None,
    };
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let named = ports.as_array()?.iter().find(|it| it.get("name").and_then(Value::as_str) == Some(text))?;
    named.get("containerPort")?.as_u64()
}

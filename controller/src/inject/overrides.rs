//! What a user says of the injected containers: a container of theirs with the same name is merged over ours, as
//! `kubectl patch` merges (maps by field, named lists by name).

use super::{INIT, PROXY};
use crate::provision::overlay;
use serde_json::Value;

/// Our names, and those that users of Istio know.
const NAMES: [(&str, &str); 4] = [(PROXY, PROXY), ("istio-proxy", PROXY), (INIT, INIT), ("istio-init", INIT)];

/// Image that means: whatever is injected.
const AUTO: &str = "auto";

/// Takes the user's containers of these names out of a pod: the name of ours that each is for, and what it says.
pub(super) fn take(spec: &mut Value) -> Vec<(&'static str, Value)> {
    let mut taken = Vec::new();
    for list in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let of = |it: &Value| {
            let name = it.get("name").and_then(Value::as_str)?;
            NAMES.iter().find(|(known, _)| *known == name).map(|(known, ours)| (*known == *ours, *ours))
        };
        containers.retain_mut(|container| match of(container) {
            Some((is_own_name, ours)) => {
                taken.push((ours, usable(container.take(), is_own_name)));
                false
            }
            None => true,
        });
    }
    taken
}

/// What of a user's container is merged. Whoever uses Istio's names has written the program and its arguments for it.
fn usable(mut container: Value, is_own_name: bool) -> Value {
    let Some(fields) = container.as_object_mut() else { return container };
    fields.remove("name");
    fields.remove("restartPolicy");
    let is_auto = fields.get("image").and_then(Value::as_str).is_none_or(|it| it == AUTO || it.is_empty());
    if is_auto || !is_own_name {
        fields.remove("image");
    }
    if !is_own_name {
        for field in ["command", "args", "readinessProbe", "startupProbe", "livenessProbe", "lifecycle"] {
            fields.remove(field);
        }
    }
    container
}

/// Merges what users say over the container of this name.
pub(super) fn apply(container: &mut Value, name: &str, overrides: &[(&'static str, Value)]) {
    for (_, said) in overrides.iter().filter(|(of, _)| *of == name) {
        // A variable is replaced whole: it has either a value or a source.
        let names: Vec<&Value> = said
            .get("env")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|it| it.get("name"))
            .collect();
        if let Some(environment) = container.get_mut("env").and_then(Value::as_array_mut) {
            environment.retain(|it| !names.iter().any(|name| it.get("name") == Some(name)));
        }
        overlay::merge(container, said);
    }
}

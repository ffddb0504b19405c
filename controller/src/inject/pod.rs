//! A pod with its sidecar.

use super::annotations::Asked;
use super::containers::{Making, volumes};
use super::{
    INIT, InjectError, InjectSettings, Owner, PROXY, STATUS_ANNOTATION, metadata, overrides, probes,
};
use serde_json::{Map, Value, json};

/// Puts the sidecar into a pod, or into the template of one, which [`super::decide`] has chosen. A pod that has one stays
/// as it is.
///
/// # Errors
/// When the pod's annotations or probes can't be understood; the pod is then as it was.
pub fn inject(pod: &mut Value, owner: &Owner, settings: &InjectSettings) -> Result<(), InjectError> {
    if is_injected(pod) {
        return Ok(());
    }
    let mut injected = pod.clone();
    fill(&mut injected, owner, settings)?;
    *pod = injected;
    Ok(())
}

/// Whether a pod has what its status annotation says was injected, by us or by Istio. The annotation alone, copied from
/// somewhere, is no sidecar.
pub fn is_injected(pod: &Value) -> bool {
    let status = pod.pointer("/metadata/annotations").and_then(|it| it.get(STATUS_ANNOTATION));
    let Some(status) = status.and_then(Value::as_str).and_then(|it| serde_json::from_str::<Value>(it).ok())
    else {
        return false;
    };
    let lists = ["initContainers", "containers"];
    let named: Vec<&str> =
        lists.iter().flat_map(|list| items(&status, list)).filter_map(Value::as_str).collect();
    let has = |name: &str| {
        let containers = lists.iter().flat_map(|list| items(pod.get("spec").unwrap_or(&Value::Null), list));
        containers.filter_map(|it| it.get("name")?.as_str()).any(|it| it == name)
    };
    let is_proxy = |name: &&&str| [PROXY, "istio-proxy"].contains(*name);
    named.iter().filter(is_proxy).any(|name| has(name))
}

fn items<'a>(of: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    of.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn fill(pod: &mut Value, owner: &Owner, settings: &InjectSettings) -> Result<(), InjectError> {
    let asked = Asked::of(pod, settings)?;
    let spec = pod.get_mut("spec").filter(|it| it.is_object()).ok_or(InjectError::Missing("spec"))?;
    let overrides = overrides::take(spec);
    let mut table = Map::new();
    if asked.rewrites_probes {
        rewrite_probes(spec, &mut table)?;
    }
    metadata::label(pod, owner);
    let metrics = metadata::annotate(pod, settings, asked.captures);
    let probes = if table.is_empty() { String::new() } else { Value::Object(table).to_string() };
    let making = Making { settings, asked: &asked, owner, probes, metrics };
    let mut ours = Vec::new();
    if asked.captures {
        ours.push((INIT, making.init()));
    }
    ours.push((PROXY, making.proxy()));
    for (name, container) in &mut ours {
        overrides::apply(container, name, &overrides);
    }
    let spec = pod.get_mut("spec").ok_or(InjectError::Missing("spec"))?;
    // Before the user's own: what these send goes through the mesh already.
    prepend(spec, "initContainers", ours.into_iter().map(|(_, container)| container).collect());
    add_volumes(spec);
    Ok(())
}

/// Of the app's containers, and of those that run beside it.
fn rewrite_probes(spec: &mut Value, table: &mut Map<String, Value>) -> Result<(), InjectError> {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            probes::rewrite(container, table)?;
        }
    }
    Ok(())
}

fn list<'a>(spec: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let list = spec.as_object_mut()?.entry(field.to_owned()).or_insert(Value::Null);
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

fn prepend(spec: &mut Value, field: &str, mut items: Vec<Value>) {
    if let Some(list) = list(spec, field) {
        items.append(list);
        *list = items;
    }
}

/// Ours replace others of their names, which only an earlier injection can have left.
fn add_volumes(spec: &mut Value) {
    let Some(list) = list(spec, "volumes") else { return };
    let ours = volumes();
    list.retain(|volume| !ours.iter().any(|it| it.get("name") == volume.get("name")));
    list.extend(ours);
}

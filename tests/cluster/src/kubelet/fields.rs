//! A container's environment: fields of the pod, keys of ConfigMaps and Secrets, and `$(NAME)` in values.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The value of a `fieldRef`.
pub(crate) fn field(pod: &Pod, address: Option<Ipv4Addr>, path: &str) -> Result<String> {
    let spec = pod.spec.as_ref().context("a spec")?;
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => lines(pod.labels()),
        "metadata.annotations" => lines(pod.annotations()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.podIP" | "status.podIPs" => address.context("no address yet")?.to_string(),
        "status.hostIP" | "status.hostIPs" => crate::network::HOST.to_string(),
        _ => {
            let keyed = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
            if let Some(key) = keyed("metadata.labels['") {
                pod.labels().get(key).cloned().unwrap_or_default()
            } else if let Some(key) = keyed("metadata.annotations['") {
                pod.annotations().get(key).cloned().unwrap_or_default()
            } else {
                bail!("the field {path} is not known here")
            }
        }
    })
}

/// All variables of a container, those that every container has among them.
pub(crate) async fn environment(
    client: &Client,
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
) -> Result<BTreeMap<String, String>> {
    let mut variables: BTreeMap<String, String> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/"),
        ("HOSTNAME", &pod.name_any()),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("KUBERNETES_SERVICE_PORT", "443"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if container.env_from.iter().flatten().next().is_some() {
        bail!("envFrom is not known here");
    }
    for variable in container.env.iter().flatten() {
        let value = value(client, pod, variable, address).await;
        let value = value.with_context(|| format!("variable {}", variable.name))?;
        let value = expand(&value, &variables);
        variables.insert(variable.name.clone(), value);
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the value of a known variable; an unknown one stays.
pub(crate) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("$(") {
        let known = rest[start..].find(')').and_then(|end| {
            let value = variables.get(&rest[start + 2..start + end])?;
            Some((value, start + end + 1))
        });
        expanded.push_str(&rest[..start]);
        match known {
            Some((value, end)) => {
                expanded.push_str(value);
                rest = &rest[end..];
            }
            None => {
                expanded.push_str("$(");
                rest = &rest[start + 2..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

async fn value(client: &Client, pod: &Pod, variable: &EnvVar, address: Ipv4Addr) -> Result<String> {
    let Some(from) = &variable.value_from else { return Ok(variable.value.clone().unwrap_or_default()) };
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(from) = &from.field_ref {
        return field(pod, Some(address), &from.field_path);
    }
    if let Some(from) = &from.config_map_key_ref {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        let value = api.get_opt(&from.name).await?.and_then(|map| map.data?.remove(&from.key));
        return found(value, from.optional, &from.key);
    }
    if let Some(from) = &from.secret_key_ref {
        let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
        let value = api.get_opt(&from.name).await?.and_then(|secret| secret.data?.remove(&from.key));
        let value = value.map(|value| String::from_utf8(value.0)).transpose()?;
        return found(value, from.optional, &from.key);
    }
    if let Some(from) = &from.resource_field_ref {
        let limits = limits_of(pod, &from.resource);
        return Ok(limits.unwrap_or_else(|| "0".to_owned()));
    }
    bail!("its source is not known here")
}

/// A limit of the pod's first container in whole units.
fn limits_of(pod: &Pod, resource: &str) -> Option<String> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get(resource.strip_prefix("limits.")?).map(|quantity| quantity.0.clone())
}

fn found(value: Option<String>, optional: Option<bool>, key: &str) -> Result<String> {
    match value {
        Some(value) => Ok(value),
        None if optional == Some(true) => Ok(String::new()),
        None => bail!("key {key} not found"),
    }
}

fn lines(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value:?}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn known_variables_are_expanded_and_unknown_ones_stay() {
        let variables = [("A".to_owned(), "1".to_owned())].into();
        assert_eq!(expand("x-$(A)-$(B)-$(A", &variables), "x-1-$(B)-$(A");
    }
}

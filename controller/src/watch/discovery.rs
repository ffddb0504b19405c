//! Which kinds the API server serves, in which version, under which name.
//!
//! A server that is just starting may answer 404 for a kind whose CRD is there; a kind counts as absent only when
//! its CRD is, or serves no version that we read.

use super::failure::Failure;
use super::source::Source;
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluice_crds::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest time of one question.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Served.
    Served(Source),
    /// Its CRD is not installed, or serves only versions that Sluice does not read.
    Absent,
    /// The server does not say for sure: as before.
    Unsure(Failure),
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Definition {
    spec: DefinitionSpec,
}

#[derive(Deserialize)]
struct DefinitionSpec {
    versions: Vec<DefinitionVersion>,
}

#[derive(Deserialize)]
struct DefinitionVersion {
    name: String,
    served: bool,
}

/// Asks for all kinds.
pub(crate) async fn discover(client: &Client) -> BTreeMap<Kind, Presence> {
    let mut lists: BTreeMap<String, Result<Resources, Failure>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for kind in Kind::ALL {
        let presence = if is_builtin(kind) {
            let version = kind.versions().first().copied().unwrap_or("v1").to_owned();
            Presence::Served(Source { kind, version, plural: plural(kind) })
        } else {
            defined(client, kind, &mut lists).await
        };
        found.insert(kind, presence);
    }
    found
}

/// Kinds that every API server has.
fn is_builtin(kind: Kind) -> bool {
    !kind.group().contains('.')
        || kind.group().ends_with(".k8s.io") && kind.group() != sluice_crds::GATEWAY_API_GROUP
}

/// The name in paths by Kubernetes' custom.
fn plural(kind: Kind) -> String {
    let name = kind.name().to_ascii_lowercase();
    match name.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if name.ends_with("ss") => format!("{name}es"),
        None if name.ends_with('s') => name,
        None => format!("{name}s"),
    }
}

async fn defined(
    client: &Client,
    kind: Kind,
    lists: &mut BTreeMap<String, Result<Resources, Failure>>,
) -> Presence {
    for version in kind.versions() {
        let path = format!("/apis/{}/{version}", kind.group());
        if !lists.contains_key(&path) {
            let answer = get(client, &path).await;
            lists.insert(path.clone(), answer);
        }
        match lists.get(&path) {
            Some(Ok(list)) => {
                // A subresource is `httproutes/status`, of the same kind.
                let resource =
                    list.resources.iter().find(|it| it.kind == kind.name() && !it.name.contains('/'));
                if let Some(resource) = resource {
                    let plural = resource.name.clone();
                    return Presence::Served(Source { kind, version: (*version).to_owned(), plural });
                }
            }
            Some(Err(Failure::NotServed(_))) | None => {}
            Some(Err(failure)) => return Presence::Unsure(failure.clone()),
        }
    }
    absent_or_unsure(client, kind).await
}

/// What the CRD says of a kind that is not served.
async fn absent_or_unsure(client: &Client, kind: Kind) -> Presence {
    let path =
        format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}.{}", plural(kind), kind.group());
    match get::<Definition>(client, &path).await {
        Ok(definition) => {
            let is_ours = |it: &DefinitionVersion| it.served && kind.versions().contains(&it.name.as_str());
            if definition.spec.versions.iter().any(is_ours) {
                Presence::Unsure(Failure::NotServed("the CRD is not established yet".to_owned()))
            } else {
                Presence::Absent
            }
        }
        // Who may not look has only the server's word that it does not serve the kind.
        Err(Failure::NotServed(_) | Failure::Forbidden(_)) => Presence::Absent,
        Err(failure) => Presence::Unsure(failure),
    }
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Failure::Refused(error.to_string()))?;
    let answer = tokio::time::timeout(TIMEOUT, client.request(request)).await;
    Ok(answer.map_err(|_| Failure::Silent)??)
}

#[cfg(test)]
mod tests {
    use super::{is_builtin, plural};
    use sluice_crds::Kind;

    #[test]
    fn names_in_paths_follow_the_custom() {
        assert_eq!(plural(Kind::GatewayClass), "gatewayclasses");
        assert_eq!(plural(Kind::ServiceEntry), "serviceentries");
        assert_eq!(plural(Kind::GatewayParameters), "gatewayparameters");
        assert_eq!(plural(Kind::EndpointSlice), "endpointslices");
    }

    #[test]
    fn core_kinds_need_no_definition() {
        assert!(is_builtin(Kind::Secret) && is_builtin(Kind::EndpointSlice));
        assert!(!is_builtin(Kind::HttpRoute) && !is_builtin(Kind::GatewayParameters));
    }
}

//! "Did you mean": the closest known word, and the fields that an object has at some place.

use crate::{
    BackendTlsPolicy, CertificateIssuer, Gateway, GatewayClass, GatewayParameters, GrpcRoute,
    HealthCheckPolicy, HttpRoute, Kind, ListenerSet, ReferenceGrant, TrafficPolicy,
};
use kube::CustomResourceExt;
use serde_json::Value;

/// Whether two words differ by a slip: case, or at most two letters of four and more.
pub(crate) fn is_close(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (a != b && b.len() >= 4 && distance(a, b) <= 2)
}

/// The word that is closest to `word`, if any is close.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().filter(|it| is_close(word, it)).min_by_key(|it| distance(word, it))
}

/// The field at `path` of a kind that was probably meant by its last part. Costs the kind's whole schema: only for
/// messages to people.
pub(crate) fn field(kind: Kind, path: &str) -> Option<String> {
    let crd = match kind {
        Kind::GatewayClass => GatewayClass::crd(),
        Kind::Gateway => Gateway::crd(),
        Kind::ListenerSet => ListenerSet::crd(),
        Kind::HttpRoute => HttpRoute::crd(),
        Kind::GrpcRoute => GrpcRoute::crd(),
        Kind::ReferenceGrant => ReferenceGrant::crd(),
        Kind::BackendTlsPolicy => BackendTlsPolicy::crd(),
        Kind::GatewayParameters => GatewayParameters::crd(),
        Kind::CertificateIssuer => CertificateIssuer::crd(),
        Kind::TrafficPolicy => TrafficPolicy::crd(),
        Kind::HealthCheckPolicy => HealthCheckPolicy::crd(),
        Kind::TlsRoute
        | Kind::TcpRoute
        | Kind::UdpRoute
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Secret
        | Kind::ConfigMap
        | Kind::Namespace
        | Kind::Node
        | Kind::Pod
        | Kind::ServiceEntry
        | Kind::WorkloadEntry
        | Kind::DestinationRule
        | Kind::Sidecar
        | Kind::Telemetry
        | Kind::AuthorizationPolicy
        | Kind::PeerAuthentication
        | Kind::RequestAuthentication => return None,
    };
    let schema = crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    let schema = serde_json::to_value(schema).ok()?;
    let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = &schema;
    for part in parent.split('.').filter(|it| !it.is_empty()) {
        let name = part.split('[').next().unwrap_or(part);
        place = place.get("properties")?.get(name)?;
        if part.contains('[') {
            place = place.get("items")?;
        }
    }
    let known = place.get("properties").and_then(Value::as_object)?;
    closest(last, known.keys().map(String::as_str)).map(str::to_owned)
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != y);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn distance_counts_slips_of_the_finger() {
        assert_eq!(distance("port", "prot"), 1);
        assert_eq!(distance("matchs", "matches"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(closest("backendRef", ["matches", "backendRefs"]), Some("backendRefs"));
        assert_eq!(closest("entirely", ["matches", "backendRefs"]), None);
    }
}

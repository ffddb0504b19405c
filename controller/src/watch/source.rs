//! Where objects of a kind are found in the API: version and path, and the requests for them.

use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use kube::core::request::Error;
use sluice_crds::{Kind, ObjectRef};

/// Objects of a page of a list. Pages bound what is in memory at a time.
const PAGE: u32 = 250;

/// Types of Secrets that hold neither certificates nor authorities, the releases of package managers large among them.
const NO_CERTIFICATES: [&str; 8] = [
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "bootstrap.kubernetes.io/token",
    crate::acme::SECRET_TYPE,
];

/// Label of pods with a sidecar (Istio).
const MESHED_PODS: &str = "security.istio.io/tlsMode=istio";

/// A kind as the API server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The kind.
    pub kind: Kind,
    /// The best version that is served.
    pub version: String,
    /// The name in paths: `httproutes`.
    pub plural: String,
}

impl Source {
    /// Path of all objects of the kind.
    fn everywhere(&self) -> String {
        format!("{}/{}", self.root(), self.plural)
    }

    fn root(&self) -> String {
        match self.kind.group() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }

    /// Path of the collection that holds `object`.
    pub fn collection(&self, object: &ObjectRef) -> String {
        if object.kind.is_namespaced() {
            format!("{}/namespaces/{}/{}", self.root(), object.namespace, self.plural)
        } else {
            self.everywhere()
        }
    }

    /// Which objects of the kind are asked for: of pods those with a sidecar alone.
    fn labels(&self) -> Option<String> {
        (self.kind == Kind::Pod).then(|| MESHED_PODS.to_owned())
    }

    /// The same by fields.
    fn fields(&self) -> Option<String> {
        let others = || NO_CERTIFICATES.map(|it| format!("type!={it}")).join(",");
        (self.kind == Kind::Secret).then(others)
    }

    /// A page of all objects; the first without `continued`.
    pub(crate) fn page(&self, continued: Option<&str>) -> Result<http::Request<Vec<u8>>, Error> {
        Request::new(self.everywhere()).list(&ListParams {
            field_selector: self.fields(),
            label_selector: self.labels(),
            limit: Some(PAGE),
            continue_token: continued.map(str::to_owned),
            ..ListParams::default()
        })
    }

    /// A watch from `version` on, or with `None` one that begins with all objects there are.
    pub(crate) fn watch(
        &self,
        version: Option<&str>,
        timeout_s: u32,
    ) -> Result<http::Request<Vec<u8>>, Error> {
        let parameters = WatchParams {
            field_selector: self.fields(),
            label_selector: self.labels(),
            timeout: Some(timeout_s),
            bookmarks: true,
            send_initial_events: version.is_none(),
        };
        Request::new(self.everywhere()).watch(&parameters, version.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::Source;
    use sluice_crds::{Kind, ObjectRef};

    fn source(kind: Kind, plural: &str) -> Source {
        Source { kind, version: "v1".to_owned(), plural: plural.to_owned() }
    }

    #[test]
    fn paths_follow_group_version_and_namespace() {
        let route = ObjectRef::new(Kind::HttpRoute, "shop", "cart");
        let source_of_routes = source(Kind::HttpRoute, "httproutes");
        assert_eq!(
            source_of_routes.collection(&route),
            "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
        );
        let class = ObjectRef::new(Kind::GatewayClass, "", "sluice");
        assert_eq!(
            source(Kind::GatewayClass, "gatewayclasses").collection(&class),
            "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
        );
        let uri = source(Kind::Secret, "secrets").watch(None, 200).unwrap().uri().to_string();
        assert!(uri.starts_with("/api/v1/secrets?"), "{uri}");
        for part in [
            "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1",
            "sendInitialEvents=true",
            "allowWatchBookmarks=true",
        ] {
            assert!(uri.contains(part), "{uri}");
        }
        let uri = source(Kind::Pod, "pods").watch(None, 200).unwrap().uri().to_string();
        assert!(uri.contains("labelSelector=security.istio.io%2FtlsMode%3Distio"), "{uri}");
        let uri = source_of_routes.watch(Some("77"), 200).unwrap().uri().to_string();
        assert!(uri.contains("resourceVersion=77") && !uri.contains("sendInitialEvents"), "{uri}");
        let uri = source_of_routes.page(Some("token")).unwrap().uri().to_string();
        assert!(uri.contains("limit=250") && uri.contains("continue=token"), "{uri}");
    }
}

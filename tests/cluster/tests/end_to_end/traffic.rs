//! A Gateway from its creation to its deletion, and changes of what it serves.

use super::stand::{
    GATEWAY, answers, condition, echo, gateway_pods, get, installed, kind, programmed, rolled_out, route,
};
use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use sluice_cluster_tests::eventually;
use sluice_tests::tls::Authority;

#[test]
fn a_gateway_is_made_serves_a_route_and_takes_everything_with_it_when_it_goes() {
    installed(async |space| {
        space.apply(&format!("{GATEWAY}{}{}", echo("web", 2), route("web", "web.example", "web"))).await;
        let address = programmed(&space, "edge", 80).await;
        let answer = answers(address, "web.example", 200).await;
        assert!(answer.backend().is_some_and(|pod| pod.starts_with("web-")), "{}", answer.text());
        assert_eq!(get(address, "other.example", "/").await.unwrap().status, 404);

        let gateway = kind(&space, "Gateway").get("edge").await.unwrap();
        let listener = &gateway.data["status"]["listeners"][0];
        assert_eq!(listener["attachedRoutes"], 1, "{listener:#}");
        assert_eq!(condition(listener, "Programmed").unwrap()["status"], "True");
        let route = kind(&space, "HTTPRoute").get("web").await.unwrap();
        let parent = &route.data["status"]["parents"][0];
        for name in ["Accepted", "ResolvedRefs"] {
            assert_eq!(condition(parent, name).unwrap()["status"], "True", "{parent:#}");
        }

        // What the restricted pod security standard asks for.
        let pods = gateway_pods(&space, "edge").await;
        let spec = pods[0].spec.as_ref().unwrap();
        let (of_pod, own) =
            (spec.security_context.clone().unwrap(), spec.containers[0].security_context.clone().unwrap());
        assert_eq!(own.run_as_non_root.or(of_pod.run_as_non_root), Some(true));
        assert_eq!(
            (own.read_only_root_filesystem, own.allow_privilege_escalation),
            (Some(true), Some(false))
        );
        assert_eq!(own.capabilities.unwrap().drop.unwrap(), ["ALL"]);

        kind(&space, "Gateway").delete("edge", &DeleteParams::default()).await.unwrap();
        let labels = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=edge");
        eventually("everything of the Gateway is gone", async || {
            let left = space.api::<Deployment>().list(&labels).await?.items.len()
                + space.api::<Service>().list(&labels).await?.items.len()
                + space.api::<ServiceAccount>().list(&labels).await?.items.len()
                + space.api::<Pod>().list(&labels).await?.items.len();
            if left == 0 { Ok(()) } else { bail!("{left} objects are left") }
        })
        .await;
    });
}

#[test]
fn a_gateway_learns_from_the_controller_where_its_node_is() {
    installed(async |space| {
        space.apply(GATEWAY).await;
        programmed(&space, "edge", 80).await;
        let pods = gateway_pods(&space, "edge").await;
        assert!(!pods.is_empty());
        for pod in pods {
            let node = pod.spec.as_ref().and_then(|it| it.node_name.clone()).unwrap();
            let place = node.replace("node-", "region/zone-");
            eventually("the place is told", async || {
                let log = space.cluster.log(&space.namespace, &pod.name_any());
                if log.contains(&place) { Ok(()) } else { bail!("{place} is not in {log}") }
            })
            .await;
        }
    });
}

#[test]
fn routes_come_and_go_and_attached_routes_are_counted_exactly() {
    installed(async |space| {
        space.apply(&format!("{GATEWAY}{}", echo("web", 1))).await;
        let address = programmed(&space, "edge", 80).await;
        rolled_out(&space, "web").await;
        let routes: String = (0..60)
            .map(|number| route(&format!("r{number}"), &format!("r{number}.example"), "web"))
            .collect();
        space.apply(&routes).await;
        let attached = async |wanted: u64| {
            eventually("attachedRoutes", async || {
                let gateway = kind(&space, "Gateway").get("edge").await?;
                let attached = gateway.data["status"]["listeners"][0]["attachedRoutes"].as_u64();
                if attached == Some(wanted) { Ok(()) } else { bail!("{attached:?}, not {wanted}") }
            })
            .await;
        };
        attached(60).await;
        answers(address, "r0.example", 200).await;
        answers(address, "r59.example", 200).await;

        for number in 0..30 {
            kind(&space, "HTTPRoute").delete(&format!("r{number}"), &DeleteParams::default()).await.unwrap();
        }
        attached(30).await;
        answers(address, "r0.example", 404).await;
        answers(address, "r59.example", 200).await;

        // One object that is edited changes what it says and nothing else.
        let hostnames = json!({"spec": {"hostnames": ["moved.example"]}});
        let api = kind(&space, "HTTPRoute");
        api.patch("r59", &PatchParams::default(), &Patch::Merge(&hostnames)).await.unwrap();
        answers(address, "moved.example", 200).await;
        assert_eq!(get(address, "r59.example", "/").await.unwrap().status, 404);
        assert_eq!(get(address, "r58.example", "/").await.unwrap().status, 200);
        attached(30).await;
    });
}

#[test]
fn a_backend_of_another_namespace_is_reached_as_long_as_a_grant_lets_it() {
    installed(async |space| {
        let other = format!("{}-other", space.namespace);
        space.make_namespace(&other).await.unwrap();
        let grant = format!(
            "{{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {{name: web, namespace: \
             {other}}}, spec: {{from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {}}}], to: \
             [{{group: '', kind: Service}}]}}}}",
            space.namespace
        );
        let there = echo("web", 1)
            .replace("metadata: {name: web}", &format!("metadata: {{name: web, namespace: {other}}}"));
        let route = route("web", "web.example", "web")
            .replace("{name: web, port: 80}", &format!("{{name: web, namespace: {other}, port: 80}}"));
        space.apply(&format!("{GATEWAY}{there}{route}")).await;
        let address = programmed(&space, "edge", 80).await;
        answers(address, "web.example", 500).await;
        let reason = async || {
            let route = kind(&space, "HTTPRoute").get("web").await.unwrap();
            let status = &route.data["status"]["parents"][0];
            condition(status, "ResolvedRefs").map(|condition| condition["reason"].clone())
        };
        eventually("RefNotPermitted", async || {
            let said = reason().await;
            if said == Some("RefNotPermitted".into()) { Ok(()) } else { bail!("{said:?}") }
        })
        .await;

        space.apply(&grant).await;
        answers(address, "web.example", 200).await;
        space.delete(&grant).await;
        answers(address, "web.example", 500).await;
    });
}

#[test]
fn a_certificate_is_taken_from_its_secret_and_changed_while_serving() {
    installed(async |space| {
        let (first, second) = (Authority::new(), Authority::new());
        let secret = |authority: &Authority| {
            authority.issue(&["web.example"]).secret("web-tls").replacen("\n---\n", "", 1)
        };
        let gateway = GATEWAY.replace(
            "{name: http, port: 80, protocol: HTTP}",
            "{name: https, port: 443, protocol: HTTPS, hostname: web.example, tls: {certificateRefs: [{name: web-tls}]}}",
        );
        let objects = format!("{gateway}{}{}", echo("web", 1), route("web", "web.example", "web"));
        space.apply(&format!("{objects}{}", secret(&first))).await;
        let address = programmed(&space, "edge", 443).await;
        rolled_out(&space, "web").await;
        let trusted_by = async |authority: &Authority| {
            eventually("a certificate of this authority", async || {
                let client = std::sync::Arc::new(authority.client(&["http/1.1"]));
                let stream = tokio::net::TcpStream::connect(address).await?;
                let name = "web.example".try_into()?;
                tokio_rustls::TlsConnector::from(client).connect(name, stream).await?;
                anyhow::Ok(())
            })
            .await;
        };
        trusted_by(&first).await;
        space.apply(&secret(&second)).await;
        trusted_by(&second).await;

        // Without its Secret the listener says so, and takes no new connection with the old key.
        space.delete("{apiVersion: v1, kind: Secret, metadata: {name: web-tls}}").await;
        eventually("InvalidCertificateRef", async || {
            let gateway = kind(&space, "Gateway").get("edge").await?;
            let listener = &gateway.data["status"]["listeners"][0];
            let reason = condition(listener, "ResolvedRefs").map(|condition| condition["reason"].clone());
            if reason == Some("InvalidCertificateRef".into()) { Ok(()) } else { bail!("{listener:#}") }
        })
        .await;
    });
}

#[test]
fn the_class_says_what_it_supports() {
    installed(async |space| {
        let class = sluice_class(&space).await;
        let status = &class.data["status"];
        for name in ["Accepted", "SupportedVersion"] {
            assert_eq!(condition(status, name).unwrap()["status"], "True", "{status:#}");
        }
        let features: Vec<_> = status["supportedFeatures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].to_string())
            .collect();
        assert!(features.is_sorted() && features.len() > 30, "{features:?}");
        assert_eq!(class.name_any(), "sluice");
    });
}

async fn sluice_class(space: &sluice_cluster_tests::Space) -> kube::api::DynamicObject {
    let kind = kube::api::GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "GatewayClass");
    let resource = kube::api::ApiResource::from_gvk(&kind);
    kube::Api::all_with(space.client.clone(), &resource).get("sluice").await.unwrap()
}

//! The cluster that the tests stand on: it is a real one, and it does what tests need to do to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{Api, PostParams, WatchEvent, WatchParams};
use kube::config::Kubeconfig;
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use sluice_cluster_tests::{Channel, eventually, own, shared};

#[test]
fn the_api_server_says_its_version_and_serves_the_experimental_channel() {
    shared(async |space| {
        let version = space.client.apiserver_version().await.unwrap();
        assert_eq!(version.major, "1");
        let group = kube::discovery::group(&space.client, "gateway.networking.k8s.io").await.unwrap();
        for kind in ["GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"]
        {
            assert!(group.recommended_kind(kind).is_some(), "{kind}");
        }
        let group = kube::discovery::group(&space.client, "gateway.networking.x-k8s.io").await.unwrap();
        assert!(group.recommended_kind("XBackend").is_some());
    });
}

#[test]
fn a_service_accounts_token_is_good_for_its_audience_only() {
    shared(async |space| {
        let accounts: Api<ServiceAccount> = space.api();
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": ["sluice-controller"]}});
        let request = serde_json::from_value(request).unwrap();
        let token = accounts.create_token_request("default", &PostParams::default(), &request).await.unwrap();
        let token = token.status.unwrap().token;
        let reviews: Api<TokenReview> = Api::all(space.client.clone());
        let review = async |audience: &str| {
            let review = json!({"metadata": {}, "spec": {"token": token, "audiences": [audience]}});
            let review = serde_json::from_value(review).unwrap();
            reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap()
        };
        let good = review("sluice-controller").await;
        assert_eq!(good.authenticated, Some(true));
        assert_eq!(
            good.user.unwrap().username.unwrap(),
            format!("system:serviceaccount:{}:default", space.namespace)
        );
        assert_ne!(review("https://kubernetes.default.svc").await.authenticated, Some(true));
    });
}

#[test]
fn a_service_account_may_do_what_rbac_lets_it() {
    shared(async |space| {
        space
            .apply(
                "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader}, rules: \
                 [{apiGroups: [''], resources: [configmaps], verbs: [list]}]}\n---\n\
                 {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader}, \
                 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, \
                 subjects: [{kind: ServiceAccount, name: default}]}",
            )
            .await;
        let path = space.cluster.kubeconfig_of(&space.namespace, "default").await.unwrap();
        let configuration = Config::try_from(Kubeconfig::read_from(path).unwrap()).unwrap();
        let client = Client::try_from(configuration).unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &space.namespace);
        eventually("the role takes effect", async || maps.list(&Default::default()).await).await;
        let secrets: Api<Secret> = Api::namespaced(client, &space.namespace);
        let refused = secrets.list(&Default::default()).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");
    });
}

#[test]
fn the_api_server_stops_and_comes_back_with_its_objects_and_without_their_history() {
    own(async |space| {
        space.cluster.install_crds(Channel::Standard).await.unwrap();
        let group = kube::discovery::group(&space.client, "gateway.networking.k8s.io").await.unwrap();
        assert!(group.recommended_kind("HTTPRoute").is_some());

        let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {number: '0'}}";
        let version = space.apply(map).await[0].resource_version().unwrap();
        space.apply(&map.replace('0', "1")).await;
        space.cluster.compact().await.unwrap();
        space.cluster.stop_api_server(true).await.unwrap();
        assert!(space.api::<ConfigMap>().get("kept").await.is_err());
        space.cluster.start_api_server().await.unwrap();

        let kept = space.api::<ConfigMap>().get("kept").await.unwrap();
        assert_eq!(kept.data.unwrap()["number"], "1");
        let maps = space.api::<ConfigMap>();
        let mut watch = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
        match watch.try_next().await {
            Ok(Some(WatchEvent::Error(status))) => assert_eq!(status.code, 410, "{status:?}"),
            other => panic!("{other:?}"),
        }
    });
}

//! What Gateways run on, on a real API server: made, kept, changed and deleted, and admitted where pods are restricted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use anyhow::{Result, bail, ensure};
use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::client::Body;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_cluster_tests::{Space, eventually, shared};
use sluice_controller::provision::{ProvisionOptions, Provisioner};
use sluice_crds::{Object, ObjectRef, Parsed};
use sluice_translate::{Change, Infrastructure, Options, Translator};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A controller as far as provisioning needs one: Gateways are on the API server, the rest only in its translator.
struct World<'a> {
    space: &'a Space,
    translator: Translator,
    provisioner: Provisioner,
    facts: mpsc::Receiver<(ObjectRef, Infrastructure)>,
    known: BTreeMap<ObjectRef, Infrastructure>,
    leads: watch::Sender<bool>,
    ca: watch::Sender<String>,
    applies: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<'a> World<'a> {
    fn new(space: &'a Space) -> Self {
        let applies = Arc::new(AtomicUsize::new(0));
        let (leads, is_leader) = watch::channel(true);
        let (ca, bundle) = watch::channel("-----BEGIN CERTIFICATE-----\n".to_owned());
        let options = ProvisionOptions {
            image: "sluice-gateway".to_owned(),
            controller: "https://sluice-controller.sluice-system.svc:15010".to_owned(),
            ca: bundle,
            is_leader,
        };
        let client = counting(space.client.clone(), applies.clone());
        let (provisioner, worker, facts) = Provisioner::new(client, options);
        let stop = CancellationToken::new();
        tokio::spawn(worker.run(stop.clone()));
        let mut world = Self {
            space,
            translator: Translator::new(Options::default()),
            provisioner,
            facts,
            known: BTreeMap::new(),
            leads,
            ca,
            applies,
            stop,
        };
        world.tell(&class("sluice", "sluice.dev/gateway-controller"));
        world
    }

    /// Tells the translator of a document, and the provisioner of what comes of it.
    fn tell(&mut self, document: &Value) {
        let Parsed::Known { object, .. } = Object::parse(document.clone(), &self.space.namespace).unwrap()
        else {
            panic!("{document}");
        };
        self.change(Change::Upsert(object));
    }

    fn change(&mut self, change: Change) {
        for gateway in self.translator.apply([change]).plans {
            self.provisioner.want(gateway.clone(), self.translator.plan(&gateway).cloned());
        }
    }

    /// Applies a Gateway on the API server and tells of it as it is there.
    async fn gateway(&mut self, name: &str, spec: Value) -> ObjectRef {
        let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": spec});
        let there = self.space.apply(&object.to_string()).await.remove(0);
        self.tell(&serde_json::to_value(&there).unwrap());
        let Parsed::Known { object, .. } = Object::parse(object, &self.space.namespace).unwrap() else {
            panic!()
        };
        object.reference()
    }

    /// A plain Gateway with listeners on these ports.
    async fn plain(&mut self, name: &str, ports: &[u16]) -> ObjectRef {
        self.gateway(name, spec(ports)).await
    }

    /// GatewayParameters `p`.
    fn parameters(&mut self, spec: &Value) {
        self.tell(&json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "GatewayParameters", "metadata": {"name": "p"}, "spec": spec}));
    }

    /// Waits until the facts of a Gateway are such.
    async fn until_told(
        &mut self,
        gateway: &ObjectRef,
        what: &str,
        holds: impl Fn(&Infrastructure) -> bool,
    ) -> Infrastructure {
        let waiting = async {
            while !self.known.get(gateway).is_some_and(&holds) {
                let (gateway, facts) = self.facts.recv().await.expect("a worker that runs");
                self.known.insert(gateway, facts);
            }
        };
        if tokio::time::timeout(sluice_cluster_tests::DEADLINE, waiting).await.is_err() {
            panic!("{what}: told only {:?}", self.known.get(gateway));
        }
        self.known[gateway].clone()
    }

    fn applies(&self) -> usize {
        self.applies.load(Ordering::SeqCst)
    }

    async fn there<K>(&self, name: &str) -> Option<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.space.api::<K>().get_opt(name).await.unwrap()
    }

    async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        eventually("it is gone", async || match self.there::<K>(name).await {
            None => Ok(()),
            Some(object) => Err(anyhow::anyhow!("{:?}", object.meta())),
        })
        .await;
    }

    /// Waits until all four objects of a Gateway are there.
    async fn until_made(&self, name: &str) -> (Service, Deployment) {
        self.space.until("a ServiceAccount", name, |_: &ServiceAccount| true).await;
        self.space.until("a ConfigMap", &format!("{name}-ca"), |_: &ConfigMap| true).await;
        let service = self.space.until("a Service", name, |_: &Service| true).await;
        (service, self.space.until("a Deployment", name, |_: &Deployment| true).await)
    }
}

/// The same client, counting server-side applies.
fn counting(client: Client, applies: Arc<AtomicUsize>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        if request.method() == http::Method::PATCH {
            applies.fetch_add(1, Ordering::SeqCst);
        }
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, "default")
}

fn class(name: &str, controller: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": name},
        "spec": {"controllerName": controller}})
}

fn spec(ports: &[u16]) -> Value {
    let listeners: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("l{port}"), "port": port, "protocol": "HTTP"}))
        .collect();
    json!({"gatewayClassName": "sluice", "listeners": listeners})
}

/// A plain Gateway that names GatewayParameters `p`.
fn spec_with_parameters() -> Value {
    let mut spec = spec(&[80]);
    spec["infrastructure"] =
        json!({"parametersRef": {"group": "sluice.dev", "kind": "GatewayParameters", "name": "p"}});
    spec
}

async fn merge<K>(space: &Space, name: &str, patch: Value)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    space.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn remove_gateway(space: &Space, name: &str) {
    space
        .delete(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}}}}}"
        ))
        .await;
}

fn ports(service: &Service) -> Vec<i32> {
    service.spec.iter().flat_map(|it| it.ports.iter().flatten()).map(|it| it.port).collect()
}

#[test]
fn a_gateway_gets_what_it_runs_on_where_pods_are_restricted_and_takes_it_along() {
    shared(async |space| {
        let namespaces: Api<Namespace> = Api::all(space.client.clone());
        let restricted =
            json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        namespaces.patch(&space.namespace, &PatchParams::default(), &Patch::Merge(restricted)).await.unwrap();
        let plain =
            "{apiVersion: v1, kind: Pod, metadata: {name: plain}, spec: {containers: [{name: a, image: a}]}}";
        let refused = format!("{:#}", space.try_apply(plain).await.unwrap_err());
        assert!(refused.contains("restricted"), "{refused}");

        let mut world = World::new(&space);
        let mut wanted = spec(&[80, 8080]);
        wanted["infrastructure"] = json!({"labels": {"team": "edge"}, "annotations": {"cost": "7"}});
        let gateway = world.gateway("web", wanted).await;
        let (service, deployment) = world.until_made("web-sluice").await;
        assert_eq!(ports(&service), [80, 8080]);
        for (labels, annotations) in
            [(service.labels(), service.annotations()), (deployment.labels(), deployment.annotations())]
        {
            assert_eq!(labels["gateway.networking.k8s.io/gateway-name"], "web");
            assert_eq!(labels["gateway.networking.k8s.io/gateway-class-name"], "sluice");
            assert_eq!((labels["team"].as_str(), annotations["cost"].as_str()), ("edge", "7"));
        }
        let owner = &service.owner_references()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str(), owner.controller),
            ("Gateway", "web", Some(true))
        );
        let selector = ListParams::default().labels("gateway.networking.k8s.io/gateway-name=web");
        let pods: Vec<Pod> = eventually("two pods that are admitted", async || {
            let pods = space.api::<Pod>().list(&selector).await?.items;
            ensure!(pods.len() == 2, "{} pods", pods.len());
            Ok::<_, anyhow::Error>(pods)
        })
        .await;
        let pod = pods[0].spec.as_ref().unwrap();
        assert_eq!(
            (pod.service_account_name.as_deref(), pod.automount_service_account_token),
            (Some("web-sluice"), Some(false))
        );
        assert!(pod.volumes.iter().flatten().all(|it| it.secret.is_none() && it.host_path.is_none()));
        assert_eq!(
            (pods[0].labels()["team"].as_str(), pods[0].annotations()["cost"].as_str()),
            ("edge", "7")
        );

        world
            .until_told(&gateway, "an address of the load balancer", |it| {
                !it.addresses.is_empty() && it.address_problem.is_none()
            })
            .await;
        remove_gateway(&space, "web").await;
        world.change(Change::Remove(gateway));
        world.until_gone::<Service>("web-sluice").await;
        world.until_gone::<Deployment>("web-sluice").await;
        world.until_gone::<ServiceAccount>("web-sluice").await;
        world.until_gone::<ConfigMap>("web-sluice-ca").await;
    });
}

#[test]
fn one_change_is_one_apply_and_a_restart_is_none() {
    shared(async |space| {
        let mut world = World::new(&space);
        let gateway = world.plain("web", &[80]).await;
        world.until_made("web-sluice").await;
        world.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        assert_eq!(world.applies(), 4, "each object once");
        world.plain("web", &[80, 81]).await;
        world.space.until("the new port", "web-sluice", |it: &Service| ports(it) == [80, 81]).await;
        world.ca.send("-----BEGIN CERTIFICATE----- another\n".to_owned()).unwrap();
        let is_new = |it: &ConfigMap| it.data.as_ref().unwrap()["ca.crt"].contains("another");
        space.until("the new certificate", "web-sluice-ca", is_new).await;
        assert_eq!(world.applies(), 6);
        let bundle = world.ca.borrow().clone();
        drop(world);

        let mut second = World::new(&space);
        second.ca.send_replace(bundle);
        let gateway = second.plain("web", &[80, 81]).await;
        second.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        second.plain("web", &[80, 81, 82]).await;
        space.until("the newest port", "web-sluice", |it: &Service| ports(it) == [80, 81, 82]).await;
        assert_eq!(second.applies(), 1, "what was as it should be is not applied again");
    });
}

#[test]
fn what_others_change_or_delete_is_put_right() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.plain("web", &[80]).await;
        let (_, deployment) = world.until_made("web-sluice").await;
        let image = |it: &Deployment| {
            it.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone()
        };
        merge::<Service>(&space, "web-sluice", json!({"spec": {"selector": {"stolen": "yes"}}})).await;
        let is_ours = |it: &Service| {
            let selector = it.spec.as_ref().unwrap().selector.as_ref().unwrap();
            selector["gateway.networking.k8s.io/gateway-name"] == "web"
        };
        space.until("its selector", "web-sluice", is_ours).await;
        merge::<Service>(
            &space,
            "web-sluice",
            json!({"spec": {"selector": {"gateway.networking.k8s.io/gateway-name": "other"}}}),
        )
        .await;
        space.until("its selector again", "web-sluice", is_ours).await;
        merge::<Service>(
            &space,
            "web-sluice",
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
        )
        .await;
        let is_labelled = |it: &Service| it.labels()["app.kubernetes.io/managed-by"] == "sluice-controller";
        space.until("its label", "web-sluice", is_labelled).await;

        let containers = json!([{"name": "gateway", "image": "evil"}]);
        let patch = json!({"spec": {"replicas": 7, "template": {"spec": {"containers": containers}}}});
        let how = PatchParams::default();
        space.api::<Deployment>().patch("web-sluice", &how, &Patch::Strategic(patch)).await.unwrap();
        let is_right = |it: &Deployment| {
            image(it) == image(&deployment) && it.spec.as_ref().unwrap().replicas == Some(2)
        };
        space.until("its image and replicas", "web-sluice", is_right).await;

        let uid = space.api::<Service>().get("web-sluice").await.unwrap().uid();
        space.api::<Service>().delete("web-sluice", &DeleteParams::default()).await.unwrap();
        space.until("another Service", "web-sluice", |it: &Service| it.uid() != uid).await;
        space.api::<ConfigMap>().delete("web-sluice-ca", &DeleteParams::default()).await.unwrap();
        space.until("another ConfigMap", "web-sluice-ca", |_: &ConfigMap| true).await;
    });
}

#[test]
fn names_of_253_characters_are_served() {
    shared(async |space| {
        let mut world = World::new(&space);
        let name = |last: &str| {
            format!("{}.{}.{}.{}.{last}", "a".repeat(62), "b".repeat(62), "c".repeat(62), "d".repeat(62))
        };
        let names = [name("x"), name("y")];
        assert_eq!(names[0].len(), 253);
        let mut made = Vec::new();
        for name in &names {
            let gateway = world.plain(name, &[80]).await;
            made.push(sluice_controller::names::infrastructure(name, "sluice"));
            world.until_made(made.last().unwrap()).await;
            world.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        }
        assert_ne!(made[0], made[1]);
        let selector = format!(
            "gateway.networking.k8s.io/gateway-name={}",
            sluice_controller::names::label_value(&names[0])
        );
        eventually("pods of the first", async || {
            let pods = space.api::<Pod>().list(&ListParams::default().labels(&selector)).await?.items;
            ensure!(pods.len() == 2, "{} pods", pods.len());
            Ok::<_, anyhow::Error>(())
        })
        .await;
    });
}

#[test]
fn autoscaler_and_budget_come_and_go_with_their_parameters() {
    shared(async |space| {
        let mut world = World::new(&space);
        world
            .parameters(&json!({"deployment": {"replicas": 3, "resources": {"requests": {"cpu": "1000m"}}}}));
        world.gateway("web", spec_with_parameters()).await;
        let (_, deployment) = world.until_made("web-sluice").await;
        assert_eq!(deployment.spec.unwrap().replicas, Some(3));

        let resources = json!({"resources": {"requests": {"cpu": "1000m"}}});
        let disruption = json!({"minAvailable": "50%"});
        world.parameters(&json!({"deployment": resources, "autoscaling": {"minReplicas": 2, "maxReplicas": 5}, "disruption": disruption}));
        let scaler = space.until("an autoscaler", "web-sluice", |_: &HorizontalPodAutoscaler| true).await;
        assert_eq!(scaler.spec.unwrap().max_replicas, 5);
        space.until("a budget", "web-sluice", |_: &PodDisruptionBudget| true).await;
        let deployment = world.there::<Deployment>("web-sluice").await.unwrap();
        assert_eq!(deployment.spec.unwrap().replicas, Some(3), "the autoscaler takes over what runs");
        // What the autoscaler does is not undone.
        let scaled = json!({"spec": {"replicas": 4}});
        let how = PatchParams::default();
        space.api::<Deployment>().patch_scale("web-sluice", &how, &Patch::Merge(scaled)).await.unwrap();

        world.parameters(
            &json!({"deployment": resources, "autoscaling": {"minReplicas": 2, "maxReplicas": 6}}),
        );
        world.until_gone::<PodDisruptionBudget>("web-sluice").await;
        space
            .until("the new maximum", "web-sluice", |it: &HorizontalPodAutoscaler| {
                it.spec.as_ref().unwrap().max_replicas == 6
            })
            .await;
        let deployment = world.there::<Deployment>("web-sluice").await.unwrap();
        assert_eq!(deployment.spec.unwrap().replicas, Some(4));
        world.parameters(&json!({"deployment": {"replicas": 1}}));
        world.until_gone::<HorizontalPodAutoscaler>("web-sluice").await;
        space
            .until("one replica", "web-sluice", |it: &Deployment| {
                it.spec.as_ref().unwrap().replicas == Some(1)
            })
            .await;
    });
}

#[test]
fn a_gateway_that_runs_already_gets_the_certificate_alone() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.parameters(
            &json!({"managed": false, "serviceAccount": "mine", "addresses": [{"value": "192.0.2.8"}]}),
        );
        let gateway = world.gateway("web", spec_with_parameters()).await;
        space.until("the certificate", "web-sluice-ca", |_: &ConfigMap| true).await;
        let told = world.until_told(&gateway, "its address", |it| it.address_problem.is_none()).await;
        assert_eq!(told.addresses[0].value, "192.0.2.8");
        assert_eq!(world.applies(), 1);
        assert!(world.there::<Deployment>("web-sluice").await.is_none());

        // One that was managed keeps what it has.
        world.parameters(&json!({}));
        world.until_made("web-sluice").await;
        world.parameters(&json!({"managed": false, "addresses": [{"value": "192.0.2.9"}]}));
        world
            .until_told(&gateway, "its other address", |it| {
                it.addresses.iter().any(|it| it.value == "192.0.2.9")
            })
            .await;
        assert!(world.there::<Deployment>("web-sluice").await.is_some());
    });
}

#[test]
fn requested_addresses_are_had_or_told() {
    shared(async |space| {
        let mut world = World::new(&space);
        let mut wanted = spec(&[80]);
        // The load balancer of the test cluster has 10.97.0.0/16.
        wanted["addresses"] = json!([{"value": "192.0.2.1"}, {"value": "10.97.7.7"}]);
        let gateway = world.gateway("web", wanted.clone()).await;
        let is_unusable = |it: &Infrastructure| {
            it.address_problem.as_ref().is_some_and(|it| it.reason.word() == "AddressNotUsable")
        };
        let told = world.until_told(&gateway, "an address that can't be had", is_unusable).await;
        assert!(told.address_problem.unwrap().message.contains("192.0.2.1"));
        wanted["addresses"] = json!([{"value": "10.97.7.7"}]);
        world.gateway("web", wanted).await;
        let told = world.until_told(&gateway, "the address", |it| it.address_problem.is_none()).await;
        let values: Vec<&str> = told.addresses.iter().map(|it| it.value.as_str()).collect();
        assert_eq!(values, ["10.97.7.7"]);
    });
}

#[test]
fn a_requested_cluster_ip_moves_the_service_only_when_it_is_free() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.parameters(&json!({"service": {"type": "ClusterIP"}}));
        let gateway = world.gateway("web", spec_with_parameters()).await;
        let (service, _) = world.until_made("web-sluice").await;
        let first = service.spec.unwrap().cluster_ip.unwrap();
        let told = world.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        assert_eq!(told.addresses[0].value, first);

        // Another one's, and one of no Service: the Service stays as it is.
        space
            .apply("{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {ports: [{port: 80}]}}")
            .await;
        let other = world.there::<Service>("other").await.unwrap().spec.unwrap().cluster_ip.unwrap();
        for taken in [other.as_str(), "192.0.2.1"] {
            let mut wanted = spec_with_parameters();
            wanted["addresses"] = json!([{"value": taken}]);
            world.gateway("web", wanted).await;
            let names_it = |it: &Infrastructure| {
                it.address_problem.as_ref().is_some_and(|it| it.message.contains(taken))
            };
            let told = world.until_told(&gateway, "a refusal", names_it).await;
            assert_eq!(told.addresses[0].value, first, "it is reached where it was");
        }
        space.delete("{apiVersion: v1, kind: Service, metadata: {name: other}}").await;
        let mut wanted = spec_with_parameters();
        wanted["addresses"] = json!([{"value": other}]);
        world.gateway("web", wanted).await;
        let told = world.until_told(&gateway, "the address", |it| it.address_problem.is_none()).await;
        assert_eq!(told.addresses[0].value, other);
    });
}

#[test]
fn node_ports_are_reached_at_the_nodes() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.parameters(&json!({"service": {"type": "NodePort", "externalTrafficPolicy": "Local"}}));
        let gateway = world.gateway("web", spec_with_parameters()).await;
        let told = world.until_told(&gateway, "addresses of nodes", |it| it.address_problem.is_none()).await;
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(space.client.clone());
        let all = nodes.list(&ListParams::default()).await.unwrap().items;
        let addresses = all.iter().flat_map(|it| it.status.as_ref().unwrap().addresses.iter().flatten());
        let addresses: Vec<&str> = addresses.map(|it| it.address.as_str()).collect();
        assert!(!told.addresses.is_empty());
        assert!(
            told.addresses.iter().all(|it| addresses.contains(&it.value.as_str())),
            "{told:?} {addresses:?}"
        );
    });
}

#[test]
fn only_the_leader_writes_and_a_new_one_takes_up_the_work() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.leads.send(false).unwrap();
        let mut leader = World::new(&space);
        let gateway = world.plain("web", &[80]).await;
        leader.plain("web", &[80]).await;
        // Both tell facts; one writes.
        world.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        leader.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
        assert_eq!((world.applies(), leader.applies()), (0, 4));
        leader.leads.send(false).unwrap();
        space.api::<Service>().delete("web-sluice", &DeleteParams::default()).await.unwrap();
        world.leads.send(true).unwrap();
        world.until_made("web-sluice").await;
        assert_eq!((world.applies(), leader.applies()), (1, 4));
    });
}

#[test]
fn a_gateway_that_goes_to_another_class_leaves_nothing_behind() {
    shared(async |space| {
        let mut world = World::new(&space);
        world.tell(&class("sluice-too", "sluice.dev/gateway-controller"));
        world.tell(&class("foreign", "example.com/other"));
        let mut wanted = spec(&[80]);
        world.gateway("web", wanted.clone()).await;
        world.until_made("web-sluice").await;
        wanted["gatewayClassName"] = json!("sluice-too");
        world.gateway("web", wanted.clone()).await;
        world.until_made("web-sluice-too").await;
        world.until_gone::<Deployment>("web-sluice").await;
        world.until_gone::<Service>("web-sluice").await;
        wanted["gatewayClassName"] = json!("foreign");
        world.gateway("web", wanted.clone()).await;
        world.until_gone::<Deployment>("web-sluice-too").await;
        world.until_gone::<Service>("web-sluice-too").await;
        world.until_gone::<ConfigMap>("web-sluice-too-ca").await;

        // A class that is missing may come back: nothing is taken away.
        wanted["gatewayClassName"] = json!("sluice-too");
        world.gateway("web", wanted).await;
        world.until_made("web-sluice-too").await;
        let missing = ObjectRef::new(sluice_crds::Kind::GatewayClass, "", "sluice-too");
        world.change(Change::Remove(missing));
        world.plain("witness", &[80]).await;
        world.until_made("witness-sluice").await;
        assert!(world.there::<Deployment>("web-sluice-too").await.is_some());
    });
}

#[test]
fn what_the_server_refuses_is_told_and_tried_again() {
    shared(async |space| {
        let policy = format!(
            "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-room-in-{0}}}
spec:
  failurePolicy: Fail
  matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [services]}}]}}
  validations: [{{expression: 'false', message: there is no room}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-room-in-{0}}}
spec:
  policyName: no-room-in-{0}
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {0}}}}}}}
",
            space.namespace
        );
        space.apply(&policy).await;
        eventually("the policy counts", async || -> Result<()> {
            let try_one =
                "{apiVersion: v1, kind: Service, metadata: {name: try}, spec: {ports: [{port: 80}]}}";
            if space.try_apply(try_one).await.is_ok() {
                space.delete(try_one).await;
                bail!("it was let in");
            }
            Ok(())
        })
        .await;
        let mut world = World::new(&space);
        let gateway = world.plain("web", &[80]).await;
        let told = world.until_told(&gateway, "no resources", |it| it.address_problem.is_some()).await;
        let problem = told.address_problem.unwrap();
        assert_eq!(problem.reason.word(), "NoResources");
        assert!(
            problem.message.contains("Service") && problem.message.contains("there is no room"),
            "{}",
            problem.message
        );
        space.delete(&policy).await;
        world.until_told(&gateway, "an address", |it| it.address_problem.is_none()).await;
    });
}

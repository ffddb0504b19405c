//! The ConfigMap by which workloads know the roots: one in each namespace, written by the replica that leads, and put
//! right when it is changed by hand.

use super::authority::Current;
use crate::backoff::Backoff;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Its name in every namespace.
pub const CONFIG_MAP: &str = "istio-ca-root-cert";
/// Key of the mesh's roots.
pub const ROOTS: &str = "root-cert.pem";
/// Key of what vouches for the controller: a sidecar connects by it.
pub const CONTROLLER: &str = "controller.pem";

/// Namespaces without workloads of a mesh, which Istio leaves out too.
const IGNORED: [&str; 3] = ["kube-public", "kube-node-lease", "local-path-storage"];
/// ConfigMaps that are written at a time.
const WRITES: usize = 8;
/// Who writes them.
const MANAGER: &str = "sluice-controller-identity";

/// Where the roots come from, and when they are written.
pub struct Distribution {
    /// The workloads' authority.
    pub authority: Current,
    /// What vouches for the controller, in PEM.
    pub controller: watch::Receiver<String>,
    /// Whether this replica writes.
    pub is_leader: watch::Receiver<bool>,
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    namespaces: BTreeSet<String>,
    /// Hash of the two keys of each ConfigMap.
    written: BTreeMap<String, u64>,
    is_listed: (bool, bool),
    hasher: RandomState,
}

enum News {
    Namespaces(BTreeSet<String>),
    Namespace(String, bool),
    Configs(Vec<ConfigMap>),
    Config(Box<ConfigMap>),
    NoConfig(String),
}

/// Keeps the ConfigMaps until `stop`.
pub async fn distribute(client: Client, mut distribution: Distribution, stop: CancellationToken) {
    let mut news = futures::stream::select(namespaces(&client), configs(&client));
    let mut known = Known::default();
    let mut backoff = Backoff::of_api();
    let mut is_late = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(news) = news.next() => known.note(news),
            Ok(()) = distribution.authority.changed() => {}
            Ok(()) = distribution.controller.changed() => {}
            Ok(()) = distribution.is_leader.changed() => {}
            () = backoff.wait(), if is_late => {}
        }
        let wanted = distribution.authority.borrow_and_update().as_ref().map(|it| it.bundle.clone());
        let controller = distribution.controller.borrow_and_update().clone();
        let leads = *distribution.is_leader.borrow_and_update();
        let (Some(roots), true, (true, true)) = (wanted, leads, known.is_listed) else { continue };
        let data = BTreeMap::from([(ROOTS.to_owned(), roots), (CONTROLLER.to_owned(), controller)]);
        is_late = !tokio::select! {
            () = stop.cancelled() => return,
            is_done = known.write_all(&client, &data) => is_done,
        };
        if !is_late {
            backoff.reset();
        }
    }
}

impl Known {
    fn note(&mut self, news: News) {
        match news {
            News::Namespaces(all) => {
                self.namespaces = all;
                self.is_listed.0 = true;
            }
            News::Namespace(name, true) => drop(self.namespaces.insert(name)),
            News::Namespace(name, false) => drop(self.namespaces.remove(&name)),
            News::Configs(all) => {
                self.written =
                    all.iter().map(|it| (it.namespace().unwrap_or_default(), self.hash(it))).collect();
                self.is_listed.1 = true;
            }
            News::Config(config) => {
                let hash = self.hash(&config);
                self.written.insert(config.namespace().unwrap_or_default(), hash);
            }
            News::NoConfig(namespace) => drop(self.written.remove(&namespace)),
        }
    }

    fn hash(&self, config: &ConfigMap) -> u64 {
        let value = |key: &str| config.data.as_ref().and_then(|it| it.get(key));
        self.hasher.hash_one((value(ROOTS), value(CONTROLLER)))
    }

    /// Writes what differs; whether nothing is left to do. A namespace that ends or is gone is left alone.
    async fn write_all(&mut self, client: &Client, data: &BTreeMap<String, String>) -> bool {
        let wanted = self.hasher.hash_one((data.get(ROOTS), data.get(CONTROLLER)));
        let late: Vec<String> =
            self.namespaces.iter().filter(|it| self.written.get(*it) != Some(&wanted)).cloned().collect();
        let count = late.len();
        let writes = late.into_iter().map(|namespace| async move {
            let result = write(client, &namespace, data).await;
            (namespace, result)
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(WRITES);
        let (mut is_done, mut failed) = (true, None);
        while let Some((namespace, result)) = writes.next().await {
            match result {
                Ok(()) => drop(self.written.insert(namespace, wanted)),
                // It ends; its end is told, too.
                Err(kube::Error::Api(status)) if ends(&status) => {
                    tracing::debug!(namespace, error = status.message, "the namespace ends");
                }
                Err(error) => (is_done, failed) = (false, Some(error)),
            }
        }
        match failed {
            Some(error) => {
                tracing::warn!(%error, "the roots of the mesh can't be written to all namespaces; trying again");
            }
            None if count > 0 => tracing::info!(namespaces = count, "the roots of the mesh are written"),
            None => {}
        }
        is_done
    }
}

fn ends(status: &kube::core::Status) -> bool {
    status.is_not_found() || status.code == 403 && status.message.contains("being terminated")
}

async fn write(client: &Client, namespace: &str, data: &BTreeMap<String, String>) -> kube::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "labels": {"istio.io/config": "true"}},
        "data": data,
    });
    api.patch(CONFIG_MAP, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await.map(drop)
}

fn namespaces(client: &Client) -> BoxStream<'static, News> {
    let api: Api<Namespace> = Api::all(client.clone());
    let is_wanted = |namespace: &Namespace| {
        namespace.metadata.deletion_timestamp.is_none() && !IGNORED.contains(&namespace.name_any().as_str())
    };
    let mut listed = BTreeSet::new();
    let events = watcher(api, Config::default()).default_backoff();
    let news = events.filter_map(move |event| {
        let news = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(it)) => {
                if is_wanted(&it) {
                    listed.insert(it.name_any());
                }
                None
            }
            Ok(Event::InitDone) => Some(News::Namespaces(std::mem::take(&mut listed))),
            Ok(Event::Apply(it)) => Some(News::Namespace(it.name_any(), is_wanted(&it))),
            Ok(Event::Delete(it)) => Some(News::Namespace(it.name_any(), false)),
            Err(error) => told("Namespace", &error),
        };
        std::future::ready(news)
    });
    news.boxed()
}

fn configs(client: &Client) -> BoxStream<'static, News> {
    let api: Api<ConfigMap> = Api::all(client.clone());
    let config = Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let mut listed = Vec::new();
    let events = watcher(api, config).default_backoff();
    let news = events.filter_map(move |event| {
        let news = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(it)) => {
                listed.push(it);
                None
            }
            Ok(Event::InitDone) => Some(News::Configs(std::mem::take(&mut listed))),
            Ok(Event::Apply(it)) => Some(News::Config(Box::new(it))),
            Ok(Event::Delete(it)) => Some(News::NoConfig(it.namespace().unwrap_or_default())),
            Err(error) => told("ConfigMap", &error),
        };
        std::future::ready(news)
    });
    news.boxed()
}

fn told(kind: &str, error: &kube::runtime::watcher::Error) -> Option<News> {
    tracing::warn!(kind, %error, "a watch for the roots of the mesh failed; trying again");
    None
}

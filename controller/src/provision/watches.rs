//! What the API server tells of the objects that were made, and of nodes.

use super::addresses;
use super::kinds::OwnedKind;
use super::live::{Key, Live};
use super::objects::{MANAGED_BY_LABEL, MANAGER};
use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::core::DynamicObject;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;

/// News of an object.
pub(super) enum News {
    /// It is there, or differs.
    Seen(Box<Live>),
    /// It is gone.
    Gone(Key),
    /// These are all of their kind.
    All(OwnedKind, Vec<Live>),
}

/// News of all kinds, without end. Breaks of connection are mended underneath, with backoff.
pub(super) fn objects(client: &Client) -> SelectAll<BoxStream<'static, News>> {
    futures::stream::select_all(OwnedKind::ALL.map(|kind| of_kind(client, kind)))
}

fn of_kind(client: &Client, kind: OwnedKind) -> BoxStream<'static, News> {
    let resource = kind.resource();
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let config = Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
    let mut listed = Vec::new();
    let events = kube::runtime::watcher::watcher(api, config).default_backoff();
    let events = events.filter_map(move |event| {
        let news = match event {
            Ok(Event::Init) => {
                listed.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                listed.push(Live::read(kind, object));
                None
            }
            Ok(Event::InitDone) => Some(News::All(kind, std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => Some(News::Seen(Box::new(Live::read(kind, object)))),
            Ok(Event::Delete(object)) => {
                Some(News::Gone((kind, object.namespace().unwrap_or_default(), object.name_any())))
            }
            Err(error) => {
                report(kind.name(), &error);
                None
            }
        };
        std::future::ready(news)
    });
    events.boxed()
}

/// Addresses of all nodes, each time that they differ.
pub(super) fn nodes(client: &Client) -> BoxStream<'static, BTreeMap<String, Vec<String>>> {
    let api: Api<Node> = Api::all(client.clone());
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut listed = BTreeMap::new();
    let mut is_listed = false;
    let events = watcher(api, Config::default()).default_backoff();
    let events = events.filter_map(move |event| {
        let read = |node: &Node| {
            let value = serde_json::to_value(node).unwrap_or_default();
            (node.name_any(), addresses::of_node(&value))
        };
        let before = known.clone();
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(node)) => listed.extend([read(&node)]),
            Ok(Event::InitDone) => {
                known = std::mem::take(&mut listed);
                is_listed = true;
            }
            Ok(Event::Apply(node)) => known.extend([read(&node)]),
            Ok(Event::Delete(node)) => drop(known.remove(&node.name_any())),
            Err(error) => report("Node", &error),
        }
        let changed = is_listed && before != known;
        std::future::ready(changed.then(|| known.clone()))
    });
    events.boxed()
}

fn report(kind: &str, error: &kube::runtime::watcher::Error) {
    tracing::warn!(kind, %error, "a watch of what was made for Gateways failed; trying again");
}

//! Telemetry (Istio): what is told of calls. What an object says (`model`, `read`), where its providers lead (`resolve`, by
//! the mesh's configuration), which hold for whom (here), and what each is told about itself (`status`).
//!
//! Providers are OpenTelemetry's (OTLP over gRPC) for spans, Prometheus for metrics and standard output for access logs. One
//! that can't be used gets nothing, and nothing goes elsewhere instead. Expressions in CEL are refused.

mod model;
mod read;
mod resolve;
mod status;

pub(crate) use model::TelemetryModel;
pub(crate) use read::read;
pub(crate) use status::compute as status;

use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{Telemetry, TelemetryReach};
use std::sync::Arc;

/// What holds for a namespace's workloads: its own, those of the root namespace, and the mesh's configuration. Which select
/// a workload is for its data plane to say.
pub(crate) fn for_workloads(view: &View<'_>, namespace: &str) -> Vec<Arc<Telemetry>> {
    let root = view.options().root_namespace.as_str();
    let mesh = view.mesh();
    let mut all = Vec::new();
    let own = view.telemetry_in(namespace);
    for model in own.into_iter().filter(|it| it.is_for_workloads()) {
        let reach = match (&model.selector, namespace == root) {
            (Some(selector), _) if !selector.is_all() => TelemetryReach::Workload,
            (_, true) => TelemetryReach::Mesh,
            (_, false) => TelemetryReach::Namespace,
        };
        all.push(Arc::new(resolve::telemetry(model, reach, mesh.config())));
    }
    all.extend(of_mesh(view, namespace));
    all.extend(resolve::default(root, mesh.config(), true).map(Arc::new));
    all
}

/// What holds for a Gateway: those that name it, those of its namespace and of the root namespace without a selector, those
/// that name its class, and where spans go by the mesh's configuration. Its access log is a matter of its parameters where
/// no Telemetry speaks of it.
pub(crate) fn for_gateway(view: &View<'_>, gateway: &ObjectRef, class: &str) -> Vec<Arc<Telemetry>> {
    let root = view.options().root_namespace.as_str();
    let mesh = view.mesh();
    let make = |model: &Arc<TelemetryModel>, reach| {
        let telemetry = resolve::telemetry(model, reach, mesh.config());
        Arc::new(Telemetry { selector: sluice_ir::Selector::default(), ..telemetry })
    };
    let mut all: Vec<_> =
        view.telemetry_of(gateway).into_iter().map(|it| make(it, TelemetryReach::Workload)).collect();
    let is_wide = |it: &&Arc<TelemetryModel>| {
        it.is_for_workloads() && it.selector.as_ref().is_none_or(sluice_ir::Selector::is_all)
    };
    if &*gateway.namespace != root {
        let own = view.telemetry_in(&gateway.namespace).into_iter().filter(is_wide);
        all.extend(own.map(|it| make(it, TelemetryReach::Namespace)));
    }
    let class = ObjectRef::new(Kind::GatewayClass, "", class);
    all.extend(view.telemetry_of(&class).into_iter().map(|it| make(it, TelemetryReach::Mesh)));
    all.extend(of_mesh(view, ""));
    all.extend(resolve::default(root, mesh.config(), false).map(Arc::new));
    all
}

/// Those of the root namespace for everybody, seen from another namespace.
fn of_mesh(view: &View<'_>, namespace: &str) -> Vec<Arc<Telemetry>> {
    let root = view.options().root_namespace.as_str();
    if namespace == root {
        return Vec::new();
    }
    let mesh = view.mesh();
    let all = view.telemetry_in(root).into_iter();
    // A selector of the root namespace chooses its own pods.
    let wide = all.filter(|it| it.is_for_workloads() && it.selector.as_ref().is_none_or(|it| it.is_all()));
    wide.map(|it| Arc::new(resolve::telemetry(it, TelemetryReach::Mesh, mesh.config()))).collect()
}

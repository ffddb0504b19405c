//! Telemetry: whom it governs and what it says; names of providers as written.

use crate::model::Meta;
use crate::values::Fault;
use sluice_crds::ObjectRef;
use sluice_ir::{MetricRule, Selector, TelemetryMode, TracingRule};

/// A Telemetry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TelemetryModel {
    pub(crate) meta: Meta,
    /// `None`: it says nothing of pods.
    pub(crate) selector: Option<Selector>,
    /// Gateways and GatewayClasses that it names, and the fields that do.
    pub(crate) targets: Vec<(ObjectRef, String)>,
    /// Whether it names targets at all, usable or not.
    pub(crate) names_targets: bool,
    pub(crate) tracing: Vec<TracingModel>,
    pub(crate) metrics: Vec<MetricRule>,
    pub(crate) logging: Vec<LoggingModel>,
    /// What can't be used.
    pub(crate) faults: Vec<Fault>,
    /// What is done but probably not meant.
    pub(crate) warnings: Vec<Fault>,
}

/// An entry of `tracing`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TracingModel {
    /// Without its collector.
    pub(crate) rule: TracingRule,
    pub(crate) provider: Option<ProviderModel>,
}

/// An entry of `accessLogging`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoggingModel {
    pub(crate) mode: TelemetryMode,
    pub(crate) is_disabled: bool,
    pub(crate) provider: Option<ProviderModel>,
}

/// A provider that is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderModel {
    pub(crate) name: String,
    /// `tracing[0].providers[0].name`, below `spec`.
    pub(crate) field: String,
}

impl TelemetryModel {
    /// The Gateways and classes that it governs.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.targets.iter().map(|it| &it.0)
    }

    /// Whether it governs workloads: it does unless it names other targets alone.
    pub(crate) fn is_for_workloads(&self) -> bool {
        !self.names_targets || self.selector.is_some()
    }

    /// The providers that it names.
    pub(crate) fn providers(&self) -> impl Iterator<Item = (&ProviderModel, Use)> {
        let traced = self.tracing.iter().filter_map(|it| Some((it.provider.as_ref()?, Use::Tracing)));
        traced.chain(self.logging.iter().filter_map(|it| Some((it.provider.as_ref()?, Use::Logging))))
    }
}

/// What a provider is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Spans go there.
    Tracing,
    /// The access log goes there.
    Logging,
}

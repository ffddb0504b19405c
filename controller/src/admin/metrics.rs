//! Every metric of the controller. docs/reference/controller-metrics.md lists them for people; a test holds the two
//! together. Labels are kinds and words from closed lists, so that their number does not grow with the cluster.

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sluice_crds::Kind;
use std::time::Duration;

/// Buckets of a translation, in seconds.
const BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEvent {
    kind: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfError {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWrite {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfIssue {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRefusal {
    reason: &'static str,
}

/// The controller's metrics.
pub struct Metrics {
    registry: Mutex<Registry>,
    events: Family<OfEvent, Counter>,
    lists: Family<OfKind, Counter>,
    watch_errors: Family<OfError, Counter>,
    unreadable: Gauge,
    translations: Histogram,
    batch: Histogram,
    status_writes: Family<OfWrite, Counter>,
    status_queue: Gauge,
    leader: Gauge,
    connected: Gauge,
    behind: Gauge,
    resources: Family<OfKind, Gauge>,
    injections: Family<OfResult, Counter>,
    issued: Family<OfIssue, Counter>,
    refused: Family<OfRefusal, Counter>,
    authority_end: Gauge,
    root_end: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::default(),
            events: Family::default(),
            lists: Family::default(),
            watch_errors: Family::default(),
            unreadable: Gauge::default(),
            translations: Histogram::new(BUCKETS),
            batch: Histogram::new([1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0]),
            status_writes: Family::default(),
            status_queue: Gauge::default(),
            leader: Gauge::default(),
            connected: Gauge::default(),
            behind: Gauge::default(),
            resources: Family::default(),
            injections: Family::default(),
            issued: Family::default(),
            refused: Family::default(),
            authority_end: Gauge::default(),
            root_end: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("sluice_controller");
        registry.register("events", "Events of watches", metrics.events.clone());
        registry.register("lists", "Complete lists of a kind that were read", metrics.lists.clone());
        registry.register("watch_errors", "Interruptions of watches", metrics.watch_errors.clone());
        registry.register(
            "unreadable_objects",
            "Objects whose newest version can't be read",
            metrics.unreadable.clone(),
        );
        registry.register("translation_seconds", "Time of one translation", metrics.translations.clone());
        registry.register("translation_events", "Events taken into one translation", metrics.batch.clone());
        registry.register("status_writes", "Writes of statuses", metrics.status_writes.clone());
        registry.register(
            "status_queue",
            "Statuses that wait or are being written",
            metrics.status_queue.clone(),
        );
        registry.register("leader", "1 while this replica writes statuses", metrics.leader.clone());
        registry.register(
            "proxies_connected",
            "Data planes connected to this replica",
            metrics.connected.clone(),
        );
        registry.register(
            "proxies_behind",
            "Connected data planes that have not acknowledged the newest configuration",
            metrics.behind.clone(),
        );
        registry.register("resources", "Resources of the configuration by kind", metrics.resources.clone());
        registry.register("injections", "New pods that were asked about", metrics.injections.clone());
        registry.register(
            "workload_certificates_issued",
            "Certificates of workloads that were issued",
            metrics.issued.clone(),
        );
        registry.register(
            "workload_certificates_refused",
            "Requests for certificates of workloads that were refused",
            metrics.refused.clone(),
        );
        registry.register(
            "workload_authority_end_seconds",
            "When the authority of workloads ends, in seconds since 1970; 0 when there is none",
            metrics.authority_end.clone(),
        );
        registry.register(
            "workload_root_end_seconds",
            "When the first trusted root of workloads ends, in seconds since 1970; 0 when there is none",
            metrics.root_end.clone(),
        );
        *metrics.registry.lock() = registry;
        metrics
    }
}

impl Metrics {
    /// All metrics as text, with what the process itself takes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry.lock());
        text
    }

    pub(crate) fn event(&self, kind: Kind, r#type: &'static str) {
        self.events.get_or_create(&OfEvent { kind: kind.name(), r#type }).inc();
    }

    pub(crate) fn listed(&self, kind: Kind) {
        self.lists.get_or_create(&OfKind { kind: kind.name() }).inc();
    }

    pub(crate) fn watch_error(&self, kind: Kind, reason: &'static str) {
        self.watch_errors.get_or_create(&OfError { kind: kind.name(), reason }).inc();
    }

    pub(crate) fn unreadable(&self, count: usize) {
        self.unreadable.set(number(count));
    }

    pub(crate) fn translation(&self, time: Duration, events: usize) {
        self.translations.observe(time.as_secs_f64());
        self.batch.observe(f64::from(u32::try_from(events).unwrap_or(u32::MAX)));
    }

    pub(crate) fn status_write(&self, kind: Kind, result: &'static str) {
        self.status_writes.get_or_create(&OfWrite { kind: kind.name(), result }).inc();
    }

    pub(crate) fn status_queue(&self, length: usize) {
        self.status_queue.set(number(length));
    }

    pub(crate) fn injection(&self, result: &'static str) {
        self.injections.get_or_create(&OfResult { result }).inc();
    }

    pub(crate) fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn proxies(&self, connected: u32, behind: u32) {
        self.connected.set(i64::from(connected));
        self.behind.set(i64::from(behind));
    }

    /// By a `token` or a `certificate`.
    pub(crate) fn certificate_issued(&self, by: &'static str) {
        self.issued.get_or_create(&OfIssue { by }).inc();
    }

    pub(crate) fn certificate_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&OfRefusal { reason }).inc();
    }

    /// When the authority and the first root end, in seconds since 1970; `None`: there is no authority.
    pub(crate) fn authority(&self, ends_s: Option<(u64, u64)>) {
        let (authority_s, root_s) = ends_s.unwrap_or_default();
        self.authority_end.set(i64::try_from(authority_s).unwrap_or(i64::MAX));
        self.root_end.set(i64::try_from(root_s).unwrap_or(i64::MAX));
    }

    pub(crate) fn resources(&self, kind: &'static str, count: usize) {
        self.resources.get_or_create(&OfKind { kind }).set(number(count));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Metrics};
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_in_the_reference() {
        let metrics = Metrics::default();
        // A family is shown with its first member.
        metrics.event(Kind::Secret, "applied");
        metrics.listed(Kind::Secret);
        metrics.watch_error(Kind::Secret, "expired");
        metrics.status_write(Kind::Gateway, "written");
        metrics.resources("route", 1);
        metrics.injection("injected");
        metrics.certificate_issued("token");
        metrics.certificate_refused("rate");
        let text = metrics.text();
        let names: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(names.len() >= 10, "{names:?}");
        let page = include_str!("../../../docs/reference/controller-metrics.md");
        let listed: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .map(|it| it.split('{').next().unwrap_or(it))
            .map(|it| it.strip_suffix("_total").unwrap_or(it))
            .collect();
        assert_eq!(names, listed);
    }
}

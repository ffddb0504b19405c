//! What a Telemetry changes of metrics: which are left out, and which labels.

use super::call::Direction;
use std::collections::BTreeMap;

/// The metrics, in the order of exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `istio_requests_total`
    Requests,
    /// `istio_request_duration_milliseconds`
    Duration,
    /// `istio_request_bytes`
    RequestBytes,
    /// `istio_response_bytes`
    ResponseBytes,
    /// `istio_request_messages_total`
    RequestMessages,
    /// `istio_response_messages_total`
    ResponseMessages,
    /// `istio_tcp_connections_opened_total`
    Opened,
    /// `istio_tcp_connections_closed_total`
    Closed,
    /// `istio_tcp_sent_bytes_total`
    Sent,
    /// `istio_tcp_received_bytes_total`
    Received,
}

impl Metric {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Requests,
        Self::Duration,
        Self::RequestBytes,
        Self::ResponseBytes,
        Self::RequestMessages,
        Self::ResponseMessages,
        Self::Opened,
        Self::Closed,
        Self::Sent,
        Self::Received,
    ];
}

/// Changes of one metric on one side of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// It is not shown.
    pub is_disabled: bool,
    /// Labels that it does not have.
    pub removed: Vec<Box<str>>,
}

/// All changes; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<(Metric, bool), Change>);

impl Overrides {
    /// The change of a metric, made when it is not there.
    pub fn entry(&mut self, metric: Metric, direction: Direction) -> &mut Change {
        self.0.entry((metric, direction == Direction::Inbound)).or_default()
    }

    pub(super) fn is_disabled(&self, metric: Metric, direction: Direction) -> bool {
        self.get(metric, direction).is_some_and(|it| it.is_disabled)
    }

    pub(super) fn removed(&self, metric: Metric, direction: Direction) -> &[Box<str>] {
        self.get(metric, direction).map_or(&[], |it| &it.removed)
    }

    fn get(&self, metric: Metric, direction: Direction) -> Option<&Change> {
        self.0.get(&(metric, direction == Direction::Inbound))
    }
}

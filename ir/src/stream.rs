//! Stream routes: which connections and datagrams of which listeners go where.

use crate::{Attachment, Origin, StreamRouteKey, WeightedBackend};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One TLSRoute, TCPRoute or UDPRoute. Whatever a listener takes goes to one backend as a whole: nothing in it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRoute {
    /// `KIND/NAMESPACE/NAME`.
    pub key: StreamRouteKey,
    /// The route object.
    pub origin: Origin,
    /// What it carries.
    pub kind: StreamKind,
    /// Creation time in seconds since 1970: the older of two routes for the same listener and host wins, then
    /// `NAMESPACE/NAME` decides.
    pub created_s: i64,
    /// Listeners that accepted the route; empty when none did. The hosts are server names, `*` for TCP and UDP.
    pub attachments: Box<[Attachment]>,
    /// Where to; empty: connections are closed, datagrams dropped. Without filters.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub backends: Arc<[WeightedBackend]>,
}

/// Which kind of stream route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamKind {
    /// TLSRoute: connections by the server name of their ClientHello.
    Tls,
    /// TCPRoute: every connection.
    Tcp,
    /// UDPRoute: every datagram.
    Udp,
}

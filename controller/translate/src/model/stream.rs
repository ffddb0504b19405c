//! TLSRoute, TCPRoute and UDPRoute, the same for all three.

use super::{BackendModel, Fault, Meta};
use crate::status::ParentRef;
use sluice_ir::{HostPattern, StreamKind};
use std::sync::Arc;

/// A route of whole connections or of datagrams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamModel {
    pub(crate) meta: Meta,
    pub(crate) kind: StreamKind,
    /// Shared by the routes that write the same.
    pub(crate) parents: Arc<[Arc<ParentRef>]>,
    /// Empty: every host.
    pub(crate) hostnames: Arc<[HostPattern]>,
    /// Of the only rule. Shared by the routes that write the same.
    pub(crate) backends: Arc<[BackendModel]>,
    /// What is wrong with the object by itself.
    pub(crate) faults: Box<[Fault]>,
    /// Whether `useDefaultGateways` is set.
    pub(crate) wants_default_gateways: bool,
}

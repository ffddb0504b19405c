//! Listeners, the same for a Gateway and a ListenerSet.

use super::{ObjectReference, Selector};
use crate::status::RouteGroupKind;
use sluice_crds::GATEWAY_API_GROUP;
use sluice_crds::gateways::{
    GatewayAllowedListeners, GatewayAllowedListenersNamespacesFrom, GatewayListeners,
    GatewayListenersAllowedRoutesNamespacesFrom, GatewayListenersTlsMode,
};
use sluice_crds::listenersets::{
    ListenerSetListeners, ListenerSetListenersAllowedRoutesNamespacesFrom, ListenerSetListenersTlsMode,
};
use std::collections::BTreeMap;

/// One entry of `listeners`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerModel {
    pub(crate) name: String,
    pub(crate) port: i32,
    pub(crate) protocol: String,
    pub(crate) hostname: Option<String>,
    /// `allowedRoutes.kinds`; `None` when the protocol's kinds are meant.
    pub(crate) kinds: Option<Vec<RouteGroupKind>>,
    /// `allowedRoutes.namespaces`.
    pub(crate) namespaces: NamespaceRule,
    pub(crate) tls: Option<TlsModel>,
}

/// Which namespaces are let in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NamespaceRule {
    All,
    None,
    Same,
    Selector(Selector),
}

/// `tls` of a listener.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsModel {
    pub(crate) is_passthrough: bool,
    pub(crate) certificates: Vec<ObjectReference>,
    pub(crate) options: BTreeMap<String, String>,
}

macro_rules! selector {
    ($it:expr) => {{
        let it = $it;
        Selector {
            labels: it.match_labels.clone().unwrap_or_default(),
            expressions: it
                .match_expressions
                .iter()
                .flatten()
                .map(|it| (it.key.clone(), it.operator.clone(), it.values.clone().unwrap_or_default()))
                .collect(),
        }
    }};
}

macro_rules! listener {
    ($it:expr, $from:ident, $mode:ident) => {{
        let it = $it;
        let allowed = it.allowed_routes.as_ref();
        ListenerModel {
            name: it.name.clone(),
            port: it.port,
            protocol: it.protocol.clone(),
            hostname: it.hostname.clone().filter(|it| !it.is_empty()),
            kinds: allowed.and_then(|it| it.kinds.as_ref()).filter(|it| !it.is_empty()).map(|kinds| {
                let group = |group: &Option<String>| group.as_deref().unwrap_or(GATEWAY_API_GROUP).to_owned();
                kinds
                    .iter()
                    .map(|it| RouteGroupKind { group: group(&it.group), kind: it.kind.clone() })
                    .collect()
            }),
            namespaces: match allowed.and_then(|it| it.namespaces.as_ref()) {
                None => NamespaceRule::Same,
                Some(it) => match it.from {
                    Some($from::All) => NamespaceRule::All,
                    Some($from::Selector) => it
                        .selector
                        .as_ref()
                        .map_or(NamespaceRule::None, |it| NamespaceRule::Selector(selector!(it))),
                    Some($from::Same) | None => NamespaceRule::Same,
                },
            },
            tls: it.tls.as_ref().map(|it| TlsModel {
                is_passthrough: it.mode == Some($mode::Passthrough),
                certificates: it
                    .certificate_refs
                    .iter()
                    .flatten()
                    .map(|it| ObjectReference {
                        group: it.group.clone().unwrap_or_default(),
                        kind: it.kind.clone().unwrap_or_else(|| "Secret".to_owned()),
                        namespace: it.namespace.clone(),
                        name: it.name.clone(),
                    })
                    .collect(),
                options: it.options.clone().unwrap_or_default(),
            }),
        }
    }};
}

impl ListenerModel {
    pub(crate) fn of_gateway(it: &GatewayListeners) -> Self {
        listener!(it, GatewayListenersAllowedRoutesNamespacesFrom, GatewayListenersTlsMode)
    }

    pub(crate) fn of_set(it: &ListenerSetListeners) -> Self {
        listener!(it, ListenerSetListenersAllowedRoutesNamespacesFrom, ListenerSetListenersTlsMode)
    }
}

impl NamespaceRule {
    /// `allowedListeners` of a Gateway; the default is none (GEP-1713).
    pub(crate) fn of_listener_sets(it: Option<&GatewayAllowedListeners>) -> Self {
        let Some(namespaces) = it.and_then(|it| it.namespaces.as_ref()) else { return Self::None };
        match namespaces.from {
            Some(GatewayAllowedListenersNamespacesFrom::All) => Self::All,
            Some(GatewayAllowedListenersNamespacesFrom::Same) => Self::Same,
            Some(GatewayAllowedListenersNamespacesFrom::Selector) => {
                namespaces.selector.as_ref().map_or(Self::None, |it| Self::Selector(selector!(it)))
            }
            Some(GatewayAllowedListenersNamespacesFrom::None) | None => Self::None,
        }
    }

    /// Whether objects of namespace `other` are let in by an object of namespace `own`.
    pub(crate) fn allows(
        &self,
        own: &str,
        other: &str,
        labels: impl FnOnce() -> BTreeMap<String, String>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Same => own == other,
            Self::Selector(selector) => selector.matches(&labels()),
        }
    }
}

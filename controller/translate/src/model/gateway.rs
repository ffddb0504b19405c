//! GatewayClass, Gateway, ListenerSet and GatewayParameters.

use super::{ClientTlsModel, ListenerModel, Meta, NamespaceRule, ObjectReference, gateway_group};
use sluice_crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_crds::{
    CertificateIssuer, CertificateIssuerSpec, GATEWAY_API_GROUP, Gateway, GatewayClass, GatewayParameters,
    GatewayParametersSpec, Kind, ListenerSet, Name, ObjectRef,
};
use std::collections::BTreeMap;

/// A GatewayClass.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassModel {
    pub(crate) meta: Meta,
    pub(crate) controller_name: String,
    pub(crate) parameters: Option<ParametersReference>,
}

/// A `parametersRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParametersReference {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayModel {
    pub(crate) meta: Meta,
    pub(crate) class: String,
    pub(crate) addresses: Vec<AddressModel>,
    pub(crate) allowed_listeners: NamespaceRule,
    pub(crate) parameters: Option<ParametersReference>,
    /// `metadata.uid`.
    pub(crate) uid: Option<String>,
    /// `infrastructure.labels`.
    pub(crate) labels: BTreeMap<String, String>,
    /// `infrastructure.annotations`.
    pub(crate) annotations: BTreeMap<String, String>,
    /// `tls.backend.clientCertificateRef`.
    pub(crate) backend_certificate: Option<ObjectReference>,
    /// `tls.frontend`.
    pub(crate) client_tls: ClientTlsModel,
    /// Whether `defaultScope` is set.
    pub(crate) has_default_scope: bool,
    /// Annotation `sluice.dev/certificate-issuer`.
    pub(crate) issuer: Option<String>,
    pub(crate) listeners: Vec<ListenerModel>,
}

/// One entry of `addresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressModel {
    pub(crate) kind: String,
    pub(crate) value: String,
}

/// A ListenerSet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SetModel {
    pub(crate) meta: Meta,
    /// The Gateway that it names as parent.
    pub(crate) parent: ObjectRef,
    /// Whether `parentRef` names a Gateway at all.
    pub(crate) names_gateway: bool,
    /// Annotation `sluice.dev/certificate-issuer`.
    pub(crate) issuer: Option<String>,
    pub(crate) listeners: Vec<ListenerModel>,
}

/// A GatewayParameters object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ParametersModel {
    pub(crate) reference: ObjectRef,
    pub(crate) spec: GatewayParametersSpec,
}

/// A CertificateIssuer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IssuerModel {
    pub(crate) meta: Meta,
    pub(crate) spec: CertificateIssuerSpec,
}

impl ClassModel {
    pub(crate) fn read(it: &GatewayClass) -> Self {
        Self {
            meta: Meta::read(Kind::GatewayClass, &it.metadata),
            controller_name: it.spec.controller_name.clone(),
            parameters: it.spec.parameters_ref.as_ref().map(|it| ParametersReference {
                group: it.group.clone(),
                kind: it.kind.clone(),
                namespace: it.namespace.clone(),
                name: it.name.clone(),
            }),
        }
    }
}

impl GatewayModel {
    pub(crate) fn read(it: &Gateway) -> Self {
        let spec = &it.spec;
        let infrastructure = spec.infrastructure.as_ref();
        let tls = spec.tls.as_ref();
        let backend = tls.and_then(|it| it.backend.as_ref());
        Self {
            meta: Meta::read(Kind::Gateway, &it.metadata),
            class: spec.gateway_class_name.clone(),
            addresses: spec
                .addresses
                .iter()
                .flatten()
                .map(|it| AddressModel {
                    kind: it.r#type.clone().unwrap_or_else(|| "IPAddress".to_owned()),
                    value: it.value.clone().unwrap_or_default(),
                })
                .collect(),
            allowed_listeners: NamespaceRule::of_listener_sets(spec.allowed_listeners.as_ref()),
            parameters: infrastructure.and_then(|it| it.parameters_ref.as_ref()).map(|it| {
                ParametersReference {
                    group: it.group.clone(),
                    kind: it.kind.clone(),
                    namespace: None,
                    name: it.name.clone(),
                }
            }),
            uid: it.metadata.uid.clone(),
            labels: infrastructure.and_then(|it| it.labels.clone()).unwrap_or_default(),
            annotations: infrastructure.and_then(|it| it.annotations.clone()).unwrap_or_default(),
            backend_certificate: backend.and_then(|it| it.client_certificate_ref.as_ref()).map(|it| {
                ObjectReference {
                    group: it.group.clone().unwrap_or_default(),
                    kind: it.kind.clone().unwrap_or_else(|| "Secret".to_owned()),
                    namespace: it.namespace.clone(),
                    name: it.name.clone(),
                }
            }),
            client_tls: tls.and_then(|it| it.frontend.as_ref()).map(ClientTlsModel::read).unwrap_or_default(),
            has_default_scope: spec.default_scope.is_some(),
            issuer: issuer(&it.metadata),
            listeners: spec.listeners.iter().map(ListenerModel::of_gateway).collect(),
        }
    }
}

impl SetModel {
    pub(crate) fn read(it: &ListenerSet) -> Self {
        let meta = Meta::read(Kind::ListenerSet, &it.metadata);
        let parent = &it.spec.parent_ref;
        let namespace =
            parent.namespace.as_ref().map_or_else(|| meta.reference.namespace.clone(), Name::from);
        Self {
            parent: ObjectRef::new(Kind::Gateway, namespace, parent.name.clone()),
            names_gateway: gateway_group(parent.group.as_ref()) == GATEWAY_API_GROUP
                && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway",
            issuer: issuer(&it.metadata),
            listeners: it.spec.listeners.iter().map(ListenerModel::of_set).collect(),
            meta,
        }
    }
}

/// The issuer that an object's annotation names.
fn issuer(metadata: &ObjectMeta) -> Option<String> {
    metadata.annotations.as_ref()?.get(crate::gateway::ISSUER).cloned()
}

impl IssuerModel {
    pub(crate) fn read(it: &CertificateIssuer) -> Self {
        Self { meta: Meta::read(Kind::CertificateIssuer, &it.metadata), spec: it.spec.clone() }
    }
}

impl ParametersModel {
    pub(crate) fn read(it: &GatewayParameters) -> Self {
        Self { reference: Meta::read(Kind::GatewayParameters, &it.metadata).reference, spec: it.spec.clone() }
    }
}

//! BackendTLSPolicy (GEP-1897): whom a Gateway believes when it speaks TLS to a Service or to the hosts of a ServiceEntry.

use super::{Meta, ObjectReference};
use crate::syntax;
use sluice_crds::backendtlspolicies::{
    BackendTlsPolicyValidation, BackendTlsPolicyValidationSubjectAltNames,
    BackendTlsPolicyValidationSubjectAltNamesType as NameType,
};
use sluice_crds::{BackendTlsPolicy, ISTIO_GROUP, Kind, ObjectRef};
use sluice_ir::SubjectName;

/// A BackendTLSPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyModel {
    pub(crate) meta: Meta,
    pub(crate) targets: Vec<TargetModel>,
    pub(crate) trust: TrustModel,
    pub(crate) server_name: String,
    pub(crate) subject_names: Vec<SubjectName>,
    /// Names of `options`; none is known.
    pub(crate) options: Vec<String>,
    /// Why the policy can't be used: field, message, next step.
    pub(crate) refused: Option<(String, String, &'static str)>,
}

/// A `targetRefs` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetModel {
    /// The Service or ServiceEntry; `Err` with group and kind for a target of another kind.
    pub(crate) object: Result<ObjectRef, (String, String)>,
    pub(crate) name: String,
    /// Name of the only port that is meant.
    pub(crate) section: Option<String>,
}

/// Which authorities are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrustModel {
    /// `wellKnownCACertificates: System`.
    System,
    /// `caCertificateRefs`.
    References(Vec<ObjectReference>),
}

/// Stands in for a host name that is none (RFC 6761 §6.4); such a policy is refused, so nobody connects by it.
const NO_NAME: &str = "refused.invalid";

impl PolicyModel {
    pub(crate) fn read(it: &BackendTlsPolicy) -> Self {
        let meta = Meta::read(Kind::BackendTlsPolicy, &it.metadata);
        let validation = &it.spec.validation;
        let mut refused = None;
        let trust = trust(validation).unwrap_or_else(|fault| {
            refused = Some(fault);
            TrustModel::References(Vec::new())
        });
        let mut subject_names = Vec::new();
        for (index, name) in validation.subject_alt_names.iter().flatten().enumerate() {
            match subject_name(name) {
                Ok(name) => subject_names.push(name),
                Err((part, message)) => {
                    let field = format!("spec.validation.subjectAltNames[{index}].{part}");
                    refused = Some((field, message, ""));
                }
            }
        }
        let server_name = match syntax::hostname(&validation.hostname, false) {
            Ok(()) => validation.hostname.clone(),
            Err(message) => {
                refused = Some(("spec.validation.hostname".to_owned(), message, ""));
                NO_NAME.to_owned()
            }
        };
        let named =
            |kind, name: &str| Ok(ObjectRef::new(kind, meta.reference.namespace.clone(), name.to_owned()));
        let targets = it.spec.target_refs.iter().map(|it| TargetModel {
            object: match (it.group.as_str(), it.kind.as_str()) {
                ("", "Service") => named(Kind::Service, &it.name),
                (ISTIO_GROUP, "ServiceEntry") => named(Kind::ServiceEntry, &it.name),
                (group, kind) => Err((group.to_owned(), kind.to_owned())),
            },
            name: it.name.clone(),
            section: it.section_name.clone().filter(|it| !it.is_empty()),
        });
        Self {
            targets: targets.collect(),
            trust,
            server_name,
            subject_names,
            options: it.spec.options.iter().flatten().map(|it| it.0.clone()).collect(),
            refused,
            meta,
        }
    }

    /// The Services and ServiceEntries that it targets, as often as it names them.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.targets.iter().filter_map(|it| it.object.as_ref().ok())
    }
}

fn trust(it: &BackendTlsPolicyValidation) -> Result<TrustModel, (String, String, &'static str)> {
    let references = it.ca_certificate_refs.as_deref().unwrap_or_default();
    let well_known = it.well_known_ca_certificates.as_deref().filter(|it| !it.is_empty());
    let refuse = |field: &str, message: String, next_step| {
        Err((format!("spec.validation{field}"), message, next_step))
    };
    match well_known {
        Some(_) if !references.is_empty() => refuse(
            "",
            "both wellKnownCACertificates and caCertificateRefs are given".to_owned(),
            "keep one of them",
        ),
        Some("System") => Ok(TrustModel::System),
        Some(other) => refuse(
            ".wellKnownCACertificates",
            format!("{other:?} names no set of authorities that is known"),
            "use System, or caCertificateRefs",
        ),
        None if references.is_empty() => refuse(
            "",
            "neither wellKnownCACertificates nor caCertificateRefs is given".to_owned(),
            "use wellKnownCACertificates: System, or name a ConfigMap with ca.crt",
        ),
        None => Ok(TrustModel::References(
            references
                .iter()
                .map(|it| ObjectReference {
                    group: it.group.clone(),
                    kind: it.kind.clone(),
                    namespace: None,
                    name: it.name.clone(),
                })
                .collect(),
        )),
    }
}

/// A subject alternative name, or the part of it that is wrong and why.
fn subject_name(
    it: &BackendTlsPolicyValidationSubjectAltNames,
) -> Result<SubjectName, (&'static str, String)> {
    match it.r#type {
        NameType::Hostname => {
            let name = it.hostname.as_deref().unwrap_or_default();
            syntax::hostname(name, true).map_err(|message| ("hostname", message))?;
            Ok(SubjectName::Dns(name.to_owned()))
        }
        NameType::Uri => {
            let uri = it.uri.as_deref().unwrap_or_default();
            syntax::absolute_uri(uri).map_err(|message| ("uri", message))?;
            Ok(SubjectName::Uri(uri.to_owned()))
        }
    }
}

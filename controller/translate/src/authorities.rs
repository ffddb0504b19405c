//! Certificates of authorities (`caCertificateRefs`): from the key `ca.crt` of a ConfigMap or Secret, checked so that a
//! data plane can use each of them.
//!
//! What can't be used is left out and named: who asks decides what that means. Nobody is believed by default.

use crate::model::{ObjectReference, kind_name};
use crate::view::View;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sluice_crds::{Kind, Name, ObjectRef};

/// What several references come to together.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    /// PEM of those that can be used; empty when none can.
    pub(crate) pem: Vec<u8>,
    /// The others, by their position.
    pub(crate) faults: Vec<(usize, Fault)>,
}

/// Why a reference comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    pub(crate) message: String,
    pub(crate) next_step: String,
}

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The reference names another kind.
    Kind,
    /// No grant lets the object be named.
    NotPermitted,
    /// The object is missing, or what it holds can't be used.
    Content,
}

/// Reads the authorities that an object in `namespace` names. `is_permitted` is asked about other namespaces.
pub(crate) fn load(
    view: &View<'_>,
    namespace: &Name,
    references: &[ObjectReference],
    is_permitted: impl Fn(&ObjectRef) -> bool,
) -> Authorities {
    let mut authorities = Authorities::default();
    for (index, reference) in references.iter().enumerate() {
        match load_one(view, namespace, reference, &is_permitted) {
            Ok(pem) => {
                authorities.pem.extend_from_slice(pem);
                if !pem.ends_with(b"\n") {
                    authorities.pem.push(b'\n');
                }
            }
            Err(fault) => authorities.faults.push((index, fault)),
        }
    }
    authorities
}

fn load_one<'a>(
    view: &View<'a>,
    namespace: &Name,
    reference: &ObjectReference,
    is_permitted: impl Fn(&ObjectRef) -> bool,
) -> Result<&'a [u8], Fault> {
    let fail = |cause, message: String, next_step: &str| {
        Err(Fault { cause, message, next_step: next_step.to_owned() })
    };
    let kind = match (reference.group.as_str(), reference.kind.as_str()) {
        ("" | "core", "ConfigMap") => Kind::ConfigMap,
        ("" | "core", "Secret") => Kind::Secret,
        (group, kind) => {
            let message = format!("authorities of kind {} are not supported", kind_name(kind, group));
            return fail(Cause::Kind, message, "use a ConfigMap or a Secret with key ca.crt");
        }
    };
    let home = reference.namespace.as_ref().map_or_else(|| namespace.clone(), Name::from);
    let object = ObjectRef::new(kind, home, reference.name.clone());
    let name = format!("{kind} \"{}/{}\"", object.namespace, object.name);
    if object.namespace != *namespace && !is_permitted(&object) {
        let message = format!("{name} is in another namespace, and no ReferenceGrant there lets it be named");
        let next_step = format!("create a ReferenceGrant in namespace {}", object.namespace);
        return fail(Cause::NotPermitted, message, &next_step);
    }
    let found = match kind {
        Kind::ConfigMap => view.config_map(&object).map(|it| it.authorities.as_deref()),
        _ => view.secret(&object).map(|it| it.authorities.as_deref()),
    };
    match found {
        None => {
            // A controller watches only the Secrets that hold certificates.
            let next_step = match kind {
                Kind::Secret => "create it with type kubernetes.io/tls, or use a ConfigMap",
                _ => "create it, or correct the name",
            };
            fail(Cause::Content, format!("{name} not found"), next_step)
        }
        Some(None) => {
            fail(Cause::Content, format!("{name} has no key ca.crt"), "add ca.crt with PEM certificates")
        }
        Some(Some(pem)) => match check(pem) {
            Ok(()) => Ok(pem),
            Err(problem) => {
                fail(Cause::Content, format!("{name} {problem}"), "put PEM certificates of authorities there")
            }
        },
    }
}

/// Whether all of it can be used, in the terms of the library that a data plane uses.
pub(crate) fn check(pem: &[u8]) -> Result<(), &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "has a ca.crt that is no PEM")?;
        roots.add(certificate).map_err(|_| "has a certificate in ca.crt that can't be used")?;
    }
    if roots.is_empty() { Err("has a ca.crt without a certificate") } else { Ok(()) }
}

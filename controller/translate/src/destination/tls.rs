//! The TLS that a rule asks for, with what its Secret holds. Whatever is wrong, endpoints are never spoken to in the
//! clear or without a check that was asked for: nobody is trusted instead.

use super::model::{TlsModel, TlsTerms};
use crate::authorities;
use crate::gateway::load_pair;
use crate::model::SecretModel;
use crate::view::View;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{Certificate, Origin, SecretBytes, SubjectName, Trust, UpstreamTls};
use std::sync::Arc;

/// Ends the name of the Secret that has the authorities, when they are in one of their own.
const AUTHORITIES_SUFFIX: &str = "-cacert";

/// The TLS that is spoken with a host whose own name is `host`; `None`: none. `fallback_names` are what the ServiceEntry
/// says of the certificate.
pub(crate) fn upstream_tls(
    view: &View<'_>,
    (rule, model): (&ObjectRef, &TlsModel),
    client: &Name,
    host: &str,
    fallback_names: &[SubjectName],
) -> Option<Box<UpstreamTls>> {
    let refused = UpstreamTls {
        origin: Origin::new(rule.kind.name(), rule.namespace.clone(), rule.name.clone()),
        server_name: host.to_owned(),
        subject_names: Vec::new(),
        trust: Trust::Bundle(SecretBytes::new(Vec::new())),
        revocations: None,
        certificate: None,
    };
    let terms = match model {
        TlsModel::Off => return None,
        TlsModel::Mesh if view.is_mesh() => return None,
        TlsModel::Mesh => return Some(Box::new(refused)),
        TlsModel::Refused => return Some(Box::new(refused)),
        TlsModel::On(terms) => terms,
    };
    let Ok(credential) = credential(view, client, terms) else { return Some(Box::new(refused)) };
    let subject_names =
        if terms.subject_names.is_empty() { fallback_names } else { terms.subject_names.as_slice() };
    Some(Box::new(UpstreamTls {
        server_name: terms.sni.clone().unwrap_or_else(|| host.to_owned()),
        subject_names: subject_names.to_vec(),
        trust: match credential.authorities {
            _ if terms.believes_anyone => Trust::Anyone,
            Some(pem) => Trust::Bundle(SecretBytes::new(pem)),
            None => Trust::System,
        },
        revocations: credential.revocations.filter(|_| !terms.believes_anyone).map(SecretBytes::new),
        certificate: credential.certificate.map(Box::new),
        ..refused
    }))
}

/// What a Secret gives.
#[derive(Debug, Default)]
struct Credential {
    certificate: Option<Certificate>,
    /// PEM.
    authorities: Option<Vec<u8>>,
    /// PEM.
    revocations: Option<Vec<u8>>,
}

/// Why a Secret of a namespace gives nothing that TLS can be spoken with; `None`: all is well.
pub(super) fn fault(view: &View<'_>, client: &Name, model: &TlsModel) -> Option<String> {
    match model {
        TlsModel::On(terms) => credential(view, client, terms).err(),
        TlsModel::Off | TlsModel::Mesh | TlsModel::Refused => None,
    }
}

fn credential(view: &View<'_>, client: &Name, terms: &TlsTerms) -> Result<Credential, String> {
    let Some(name) = &terms.credential else { return Ok(Credential::default()) };
    let reference = ObjectRef::new(Kind::Secret, client.clone(), name.clone());
    let other = ObjectRef::new(Kind::Secret, client.clone(), format!("{name}{AUTHORITIES_SUFFIX}"));
    let secret = view.secret(&reference);
    let other_secret = view.secret(&other);
    let named = |it: &ObjectRef| format!("Secret \"{}/{}\"", it.namespace, it.name);
    let mut credential = Credential::default();
    if terms.is_mutual {
        let secret = secret.ok_or_else(|| format!("{} not found", named(&reference)))?;
        let chain = secret.chain.as_ref().or_else(|| secret.keys.get("cert"));
        let key = secret.private_key.as_ref().or_else(|| secret.keys.get("key"));
        let loaded = load_pair(&reference, chain, key).map_err(|it| format!("{} {it}", named(&reference)))?;
        credential.certificate = Some(Certificate::clone(&loaded.certificate));
    } else if secret.is_none() && other_secret.is_none() {
        return Err(format!("{} not found", named(&reference)));
    }
    let holders = [(&reference, secret), (&other, other_secret)];
    let holders = || holders.iter().filter_map(|(reference, secret)| Some((*reference, (*secret)?)));
    if let Some((holder, pem)) = holders().find_map(|(it, secret)| Some((it, authorities_of(secret)?))) {
        authorities::check(pem).map_err(|it| format!("{} {it}", named(holder)))?;
        credential.authorities = Some(pem.clone());
    } else if !terms.is_mutual && !terms.believes_anyone {
        return Err(format!("{} has no key ca.crt", named(&reference)));
    }
    if let Some((holder, pem)) = holders().find_map(|(it, secret)| Some((it, revocations_of(secret)?))) {
        check_revocations(pem, credential.authorities.as_deref())
            .map_err(|it| format!("{} {it}", named(holder)))?;
        credential.revocations = Some(pem.clone());
    }
    Ok(credential)
}

fn authorities_of(secret: &Arc<SecretModel>) -> Option<&Vec<u8>> {
    secret.authorities.as_ref().or_else(|| secret.keys.get("cacert"))
}

fn revocations_of(secret: &Arc<SecretModel>) -> Option<&Vec<u8>> {
    secret.keys.get("ca.crl").or_else(|| secret.keys.get("crl"))
}

/// Whether all lists can be used, in the terms of the library that a data plane uses.
fn check_revocations(pem: &[u8], authorities: Option<&[u8]>) -> Result<(), &'static str> {
    let Some(authorities) = authorities else { return Err("has a ca.crl, but nobody's ca.crt is there") };
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists = lists.map_err(|_| "has a ca.crl that is no PEM")?;
    if lists.is_empty() {
        return Err("has a ca.crl without a list");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok));
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
        .with_crls(lists)
        .build()
        .map_err(|_| "has a list in ca.crl that can't be used")?;
    Ok(())
}

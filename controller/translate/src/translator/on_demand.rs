//! The part of the translator that runs certificates of handshakes: which listeners ask for them, and which of them
//! are there.

use super::Translator;
use crate::gateway::{self, GatewayOutput};
use crate::issuer::WantedCertificate;
use crate::problem::{Problems, Severity};
use crate::reads::{Key, Node};
use crate::view::View;
use sluice_crds::{Kind, ObjectRef};
use sluice_ir::{Certificate, CertificateKey, OnDemandKey, Resource, ResourceKey};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Translator {
    /// Takes over which listeners of a Gateway ask for names.
    pub(super) fn install_on_demand(
        &mut self,
        gateway: &ObjectRef,
        old: Option<&GatewayOutput>,
        new: Option<&GatewayOutput>,
    ) {
        let all = |it: Option<&GatewayOutput>| it.map(|it| it.on_demand.clone()).unwrap_or_default();
        let (old, new) = (all(old), all(new));
        if old == new {
            return;
        }
        self.orders_changed = true;
        let keys: BTreeSet<OnDemandKey> = old.iter().chain(&new).map(|it| it.key.clone()).collect();
        for key in keys {
            let listeners = self.state.on_demand.entry(key.clone()).or_default();
            listeners.retain(|it| it.gateway != *gateway);
            listeners.extend(new.iter().filter(|it| it.key == key).cloned());
            listeners.sort();
            if listeners.is_empty() {
                self.state.on_demand.remove(&key);
            }
            self.mark_readers(&Key::OnDemand(key));
        }
    }

    /// A Secret with a certificate that a handshake asked for: served while a listener wants its name.
    pub(super) fn run_on_demand(&mut self, node: &Node, reference: &ObjectRef) {
        let view = View::new(&self.state);
        let found = find(&view, reference);
        let is_there = view.secret(reference).is_some_and(|it| it.on_demand.is_some());
        let reads = if is_there { view.into_reads() } else { Vec::new() };
        self.note_reads(node, reads);
        let mut problems = Problems::of(reference);
        let found = found.unwrap_or_else(|message| {
            let next_step = "delete the Secret: the next handshake has a new one made";
            problems.add(Severity::Warning, "data", message, next_step);
            None
        });
        self.output.set_problems(node, problems.into_list());
        let wanted = match found {
            Some((certificate, wanted)) => {
                self.output.put(Resource::Certificate(certificate));
                Some(wanted)
            }
            None => {
                self.output.remove(ResourceKey::Certificate(key_of(reference)));
                None
            }
        };
        let old = match wanted.clone() {
            Some(wanted) => self.on_demand.insert(reference.clone(), wanted),
            None => self.on_demand.remove(reference),
        };
        self.orders_changed |= old != wanted;
    }
}

type Found = Option<(Arc<Certificate>, WantedCertificate)>;

/// The certificate and what keeps it; `None` when nobody wants it, an error when it can't be read.
fn find(view: &View<'_>, reference: &ObjectRef) -> Result<Found, String> {
    let Some(secret) = view.secret(reference) else { return Ok(None) };
    let Some(issuer) = &secret.on_demand else { return Ok(None) };
    let key = gateway::on_demand_key(&reference.namespace, issuer);
    let listeners = view.on_demand(&key);
    if listeners.is_empty() {
        return Ok(None);
    }
    let loaded = gateway::certificate(reference, Some(secret))?;
    let [name] = loaded.certificate.names.as_slice() else {
        return Err("the certificate has more names than the one that was asked for".to_owned());
    };
    let mut gateways: Vec<ObjectRef> =
        listeners.iter().filter(|it| it.lets(name)).map(|it| it.gateway.clone()).collect();
    gateways.dedup();
    if gateways.is_empty() {
        return Ok(None);
    }
    let (namespace, issuer) = issuer.split_once('/').unwrap_or_default();
    let wanted = WantedCertificate {
        secret: reference.clone(),
        issuer: ObjectRef::new(Kind::CertificateIssuer, namespace, issuer),
        names: vec![name.clone()],
        gateways,
        is_there: true,
    };
    let certificate = Certificate {
        key: key_of(reference),
        on_demand: Some(key),
        ..Certificate::clone(&loaded.certificate)
    };
    Ok(Some((Arc::new(certificate), wanted)))
}

/// Another than that of the same Secret where a listener names it.
fn key_of(secret: &ObjectRef) -> CertificateKey {
    CertificateKey::new(format!("Secret/{}/{}+on-demand", secret.namespace, secret.name))
}

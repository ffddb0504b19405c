//! TLS clients of a backend: one for each client certificate that a Gateway shows to its backends.

use super::runtime::BackendRuntime;
use crate::upstream::{ClientError, TlsClient};
use sluice_ir as ir;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How a backend is spoken to in TLS, by Gateway.
#[derive(Debug)]
pub struct BackendTls(Box<[Choice]>);

/// For the Gateways with this client certificate.
#[derive(Debug)]
struct Choice {
    key: Option<ir::CertificateKey>,
    certificate: Option<Arc<ir::Certificate>>,
    /// Why there is none: then no request goes to the backend.
    client: Result<Arc<TlsClient>, Box<str>>,
}

impl BackendTls {
    /// The client for requests of that Gateway, or why there is none.
    pub fn client(&self, gateway: &ir::Gateway) -> Result<&Arc<TlsClient>, &str> {
        let choice = self.0.iter().find(|choice| choice.key == gateway.backend_certificate);
        match choice.map(|choice| &choice.client) {
            Some(Ok(client)) => Ok(client),
            Some(Err(reason)) => Err(reason),
            None => Err("the Gateway is not part of the configuration"),
        }
    }

    /// `None` for a plain backend. What did not change since `before` is shared with it, with its connections.
    pub(super) fn compile(
        backend: &ir::Backend,
        snapshot: &ir::Snapshot,
        before: Option<&BackendRuntime>,
    ) -> Option<Self> {
        let policy = backend.tls.as_deref()?;
        let kept = before
            .filter(|before| before.backend.protocol == backend.protocol && before.backend.tls == backend.tls)
            .and_then(|before| before.tls.as_ref());
        let choice = |key: &Option<ir::CertificateKey>| {
            let certificate = key.as_ref().and_then(|key| snapshot.certificates.get(key)).cloned();
            let same = |old: &&Choice| old.key == *key && old.certificate == certificate;
            let kept = kept.and_then(|kept| kept.0.iter().find(same)).map(|old| old.client.clone());
            let client =
                kept.unwrap_or_else(|| client(backend, policy, key.as_ref(), certificate.as_deref()));
            Choice { key: key.clone(), certificate, client }
        };
        Some(Self(shown(snapshot).iter().map(choice).collect()))
    }

    /// Whether Gateways show the same certificates as when this was compiled.
    pub(super) fn is_current(&self, snapshot: &ir::Snapshot) -> bool {
        let shown = shown(snapshot);
        let now = |key: &Option<ir::CertificateKey>| snapshot.certificates.get(key.as_ref()?);
        shown.len() == self.0.len()
            && self.0.iter().all(|choice| {
                shown.contains(&choice.key)
                    && match (&choice.certificate, now(&choice.key)) {
                        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                        (None, None) => true,
                        (Some(_), None) | (None, Some(_)) => false,
                    }
            })
    }
}

fn client(
    backend: &ir::Backend,
    policy: &ir::UpstreamTls,
    key: Option<&ir::CertificateKey>,
    certificate: Option<&ir::Certificate>,
) -> Result<Arc<TlsClient>, Box<str>> {
    let client = match (key, certificate) {
        // Going on without it would show the backend somebody else.
        (Some(key), None) => Err(ClientError::Missing { key: key.clone() }),
        (_, certificate) => TlsClient::new(backend, policy, certificate),
    };
    client.map_err(|reason| {
        tracing::warn!(backend = %backend.key, policy = %policy.origin, %reason, "no TLS to a backend: its requests fail");
        reason.to_string().into()
    })
}

/// The certificates that Gateways show.
fn shown(snapshot: &ir::Snapshot) -> BTreeSet<Option<ir::CertificateKey>> {
    snapshot.gateways.values().map(|gateway| gateway.backend_certificate.clone()).collect()
}

//! What a listener asks of the certificates of its clients, and who vouches for one that was let in.

use super::{TlsError, clients};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use sluice_ir::{ClientValidation, ClientValidationMode};
use std::sync::Arc;

/// What is asked in the handshake, and what is known after it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// For the handshake.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    judge: Judge,
}

/// Who vouches for the certificate of a client that was let in.
#[derive(Clone, Debug)]
pub(super) enum Judge {
    /// The handshake would have failed otherwise.
    Handshake,
    /// Any certificate is let in: these authorities say which is good.
    Authorities(Arc<dyn ClientCertVerifier>),
    /// Nobody: none is asked for, or the authorities can't be used.
    Nobody,
}

impl Asked {
    /// What the listener's validation asks for. Authorities that can't be used let nobody in, except where everybody
    /// is let in.
    pub(super) fn read(
        validation: Option<&ClientValidation>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let Some(validation) = validation else {
            return Ok(Self { verifier: WebPkiClientVerifier::no_client_auth(), judge: Judge::Nobody });
        };
        let strict = clients::strict(validation, provider);
        Ok(match validation.mode {
            ClientValidationMode::AllowValidOnly => Self { verifier: strict?, judge: Judge::Handshake },
            ClientValidationMode::AllowInsecureFallback => Self {
                verifier: clients::anybody(validation, provider),
                judge: strict.map_or(Judge::Nobody, Judge::Authorities),
            },
        })
    }

    /// Who vouches for what the handshake let in.
    pub(super) fn judge(&self) -> Judge {
        self.judge.clone()
    }
}

impl Judge {
    /// Whether an authority vouches for the certificate now. Cost: nothing, or the check of a chain.
    pub(super) fn vouches_for(&self, chain: &[CertificateDer<'_>]) -> bool {
        match (self, chain.split_first()) {
            (_, None) | (Self::Nobody, _) => false,
            (Self::Handshake, Some(_)) => true,
            (Self::Authorities(authorities), Some((leaf, rest))) => {
                authorities.verify_client_cert(leaf, rest, UnixTime::now()).is_ok()
            }
        }
    }
}

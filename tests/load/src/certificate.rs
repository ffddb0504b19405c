//! Self-signed P-256 certificates for the TLS scenarios, and the client that trusts them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// A certificate for `load.test` and every host below it, on disk and in memory.
pub(crate) struct Certificate {
    /// Chain in PEM.
    pub(crate) chain: PathBuf,
    /// Private key in PEM.
    pub(crate) key: PathBuf,
    /// Chain and key in one file, as HAProxy wants it.
    pub(crate) combined: PathBuf,
    /// Text of `chain`.
    pub(crate) chain_pem: String,
    /// Text of `key`.
    pub(crate) key_pem: String,
    /// The leaf.
    pub(crate) der: CertificateDer<'static>,
}

/// Makes a certificate and writes its three files to `folder`, their names starting with `name`.
pub(crate) fn generate(folder: &Path, name: &str) -> Result<Certificate> {
    let names = vec!["load.test".to_owned(), "*.load.test".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let (chain_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    let path = |end: &str| folder.join(format!("{name}{end}"));
    let certificate = Certificate {
        chain: path(".crt"),
        key: path(".key"),
        combined: path(".pem"),
        der: made.cert.der().clone(),
        chain_pem,
        key_pem,
    };
    let write =
        |path: &Path, text: &str| std::fs::write(path, text).with_context(|| path.display().to_string());
    write(&certificate.chain, &certificate.chain_pem)?;
    write(&certificate.key, &certificate.key_pem)?;
    write(&certificate.combined, &format!("{}{}", certificate.chain_pem, certificate.key_pem))?;
    Ok(certificate)
}

/// A client that trusts `certificates` and makes every proxy do the same work: TLS 1.3 only, one cipher suite, X25519
/// (no post-quantum share, which only some peers know), and no session resumption: every handshake is a full one.
pub(crate) fn client<'a>(
    certificates: impl IntoIterator<Item = &'a Certificate>,
) -> Result<Arc<ClientConfig>> {
    client_of(certificates.into_iter().map(|certificate| certificate.der.clone()))
}

/// The first record of such a client: a ClientHello that asks for `name`.
pub(crate) fn client_hello(name: ServerName<'static>) -> Result<Bytes> {
    let mut connection = rustls::ClientConnection::new(client_of([])?, name)?;
    let mut record = Vec::new();
    connection.write_tls(&mut record)?;
    Ok(record.into())
}

fn client_of(trusted: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate)?;
    }
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// An authority whose certificates stand for those of a public one: a leaf and an intermediate of usual size.
pub(crate) struct Authority {
    root: CertificateDer<'static>,
    intermediate: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        let params = |name: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let root = rcgen::CertifiedIssuer::self_signed(params("load root"), rcgen::KeyPair::generate()?)?;
        let key = rcgen::KeyPair::generate()?;
        let intermediate = rcgen::CertifiedIssuer::signed_by(params("load intermediate"), key, &root)?;
        Ok(Self { root: root.der().clone(), intermediate })
    }

    /// Chain and key for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Result<(sluice_ir::SecretBytes, sluice_ir::SecretBytes)> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate()?;
        let leaf = rcgen::CertificateParams::new(names)?.signed_by(&key, &self.intermediate)?;
        let chain = leaf.pem() + &self.intermediate.pem();
        let secret = |text: String| sluice_ir::SecretBytes::new(text.into_bytes());
        Ok((secret(chain), secret(key.serialize_pem())))
    }

    /// As [`client`], for its certificates.
    pub(crate) fn client(&self) -> Result<Arc<ClientConfig>> {
        client_of([self.root.clone()])
    }
}

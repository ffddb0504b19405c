//! The cluster's certificates and keys: one authority, the API server, an administrator, and the key that signs service
//! accounts' tokens.

use crate::network::{API_SERVER, HOST};
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::json;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Everything as PEM files in one folder: `ca.crt`, `server.{crt,key}`, `admin.{crt,key}`, `accounts.{key,pub}`, and a
/// kubeconfig `admin.kubeconfig`.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let authority = authority()?;
        let write = |name: &str, text: String| fs::write(folder.join(name), text);
        write("ca.crt", authority.pem())?;

        let (certificate, key) = server(&authority)?;
        write("server.crt", certificate)?;
        write("server.key", key)?;

        let (certificate, key) = administrator(&authority)?;
        write("admin.crt", certificate)?;
        write("admin.key", key)?;

        let accounts = KeyPair::generate()?;
        write("accounts.key", accounts.serialize_pem())?;
        write("accounts.pub", accounts.public_key_pem())?;

        let certificates = Self { folder: folder.to_owned() };
        let user = json!({
            "client-certificate": certificates.file("admin.crt"),
            "client-key": certificates.file("admin.key"),
        });
        write("admin.kubeconfig", certificates.kubeconfig("default", &user))?;
        Ok(certificates)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// A kubeconfig for a user, as JSON, which is YAML.
    pub(crate) fn kubeconfig(&self, namespace: &str, user: &serde_json::Value) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{API_SERVER}"),
                "certificate-authority": self.file("ca.crt"),
            }}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "current-context": "test",
        })
        .to_string()
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "a cluster for tests");
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// For the API server and for the node's own server of container logs.
fn server(authority: &CertifiedIssuer<'static, KeyPair>) -> Result<(String, String)> {
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut params = CertificateParams::new(names.map(str::to_owned).to_vec())?;
    for address in [Ipv4Addr::LOCALHOST, HOST, Ipv4Addr::new(10, 96, 0, 1)] {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
    }
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(params, authority)
}

fn administrator(authority: &CertifiedIssuer<'static, KeyPair>) -> Result<(String, String)> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "admin");
    // The group that RBAC lets do everything.
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(params, authority)
}

fn issue(
    params: CertificateParams,
    authority: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

//! `tls` of a DestinationRule: taken, or refused as a whole.

use super::model::{TlsModel, TlsTerms};
use super::values::{Faults, subject_name};
use crate::model::host_name;
use crate::problem::Severity;
use crate::syntax;
use sluice_crds::ClientTlsSpec;

/// Whatever is wrong with it, the endpoints are not spoken to in the clear: nobody is trusted instead.
pub(super) fn tls(it: &ClientTlsSpec, field: &str, faults: &mut Faults) -> TlsModel {
    let is_mutual = match it.mode.as_deref().unwrap_or("DISABLE") {
        "DISABLE" => return TlsModel::Off,
        "SIMPLE" => false,
        "MUTUAL" => true,
        "ISTIO_MUTUAL" => return TlsModel::Mesh,
        other => {
            let message = format!("{other:?} is no mode; requests get 502");
            faults.refuse(format!("{field}.mode"), message, "use DISABLE, SIMPLE, MUTUAL or ISTIO_MUTUAL");
            return TlsModel::Refused;
        }
    };
    let count = faults.0.len();
    let files = [
        ("clientCertificate", it.client_certificate.as_deref()),
        ("privateKey", it.private_key.as_deref()),
        ("caCertificates", it.ca_certificates.as_deref().filter(|it| *it != "system")),
        ("caCrl", it.ca_crl.as_deref()),
    ];
    for (name, path) in files {
        if path.is_some_and(|it| !it.is_empty()) {
            let message = "files of a gateway are not read; requests get 502";
            faults.refuse(
                format!("{field}.{name}"),
                message,
                "put it into a Secret, and name that in credentialName",
            );
        }
    }
    let credential = it.credential_name.as_deref().filter(|it| !it.is_empty());
    if is_mutual && credential.is_none() {
        let message = "MUTUAL needs a certificate to show; requests get 502";
        faults.refuse(format!("{field}.credentialName"), message, "name a Secret with tls.crt and tls.key");
    }
    let mut subject_names = Vec::new();
    for (index, name) in it.subject_alt_names.iter().enumerate() {
        match subject_name(name) {
            Ok(name) => subject_names.push(name),
            Err(message) => faults.refuse(
                format!("{field}.subjectAltNames[{index}]"),
                format!("{message}; requests get 502"),
                "use DNS names and URIs",
            ),
        }
    }
    let sni = it.sni.as_deref().filter(|it| !it.is_empty()).map(host_name);
    if let Some(Err(message)) = sni.as_deref().map(|it| syntax::hostname(it, false)) {
        faults.refuse(format!("{field}.sni"), format!("{message}; requests get 502"), "");
    }
    if faults.0.len() > count {
        return TlsModel::Refused;
    }
    let believes_anyone = it.insecure_skip_verify == Some(true);
    if believes_anyone {
        faults.add(
            Severity::Warning,
            format!("{field}.insecureSkipVerify"),
            "whoever answers is believed: certificates are not checked",
            "name the authority in credentialName instead",
        );
    }
    TlsModel::On(TlsTerms {
        is_mutual,
        credential: credential.map(Into::into),
        sni,
        subject_names,
        believes_anyone,
    })
}

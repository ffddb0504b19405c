//! `x-forwarded-client-cert`: what the backend learns of the client's certificate.

use crate::listen::ClientCertificate;
use http::HeaderName;
use pingora_error::Result;
use pingora_http::RequestHeader;
use sluice_ir::ClientCertificateField;

const HEADER: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Replaces whatever the client sent under that name: also where backends are told nothing, and whoever is trusted to
/// append to `X-Forwarded-For`. A backend that reads the field must never read a client's own words.
pub(super) fn set(
    header: &mut RequestHeader,
    client: Option<&ClientCertificate>,
    fields: &[ClientCertificateField],
) -> Result<()> {
    if header.headers.contains_key(&HEADER) {
        header.remove_header(&HEADER);
    }
    if fields.is_empty() {
        return Ok(());
    }
    match client.and_then(|client| client.told(fields)) {
        Some(value) => header.insert_header(HEADER, value),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{HEADER, set};
    use pingora_http::RequestHeader;
    use sluice_ir::ClientCertificateField;

    #[test]
    fn what_a_client_sends_is_removed_however_often_it_is_there() {
        for fields in [&[][..], &ClientCertificateField::ALL] {
            let mut header = RequestHeader::build("GET", b"/", None).unwrap();
            for value in ["URI=spiffe://admin", "Hash=00", ""] {
                header.append_header("X-Forwarded-Client-Cert", value).unwrap();
            }
            set(&mut header, None, fields).unwrap();
            assert!(!header.headers.contains_key(&HEADER));
        }
    }
}

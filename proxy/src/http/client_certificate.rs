//! `x-forwarded-client-cert`: what the backend learns of the client's certificate.

use crate::listen::{ClientCertificate, ConnInfo};
use http::{HeaderName, HeaderValue};
use pingora_error::{ErrorType, OrErr, Result};
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

/// In a mesh: what a peer that has proven who it is says of the way of the request is believed, and it is added to it. Of
/// anybody else nothing is believed, and an application's own words go no further than its sidecar.
pub(super) fn set_of_mesh(header: &mut RequestHeader, connection: &ConnInfo) -> Result<()> {
    let before = match (&connection.told_of_peer, header.headers.get(&HEADER)) {
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            header.remove_header(&HEADER);
            return Ok(());
        }
        (Some(told), None) => return header.insert_header(HEADER, told.clone()),
        (Some(_), Some(_)) => header.headers.get_all(&HEADER).iter(),
    };
    let told = connection.told_of_peer.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
    let mut all: Vec<u8> = Vec::with_capacity(2 * told.len());
    for value in before {
        all.extend_from_slice(value.as_bytes());
        all.push(b',');
    }
    all.extend_from_slice(told);
    let value =
        HeaderValue::from_bytes(&all).or_err(ErrorType::InvalidHTTPHeader, "x-forwarded-client-cert")?;
    header.insert_header(HEADER, value)
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

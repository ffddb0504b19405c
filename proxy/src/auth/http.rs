//! Asking in plain HTTP (GEP-1494): a request of the same method, path and host; 200 lets the client's go on.

use super::{Authorizer, Changes, Denied, Edit, Failure, Question, Verdict, denial, fields, grpc_status};
use crate::upstream::CallAnswer;
use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version, header};
use http_body_util::Full;
use sluice_ir::BackendProtocol;

/// Bytes of the body of a denial that the client gets; a larger one is left out.
pub(super) const MOST_BODY_BYTES: usize = 64 * 1024;

/// What servers that know Envoy answer with: names of request fields that are to go.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The request to the authoriser. The path is the client's behind the prefix, which ends without a slash.
pub(super) fn request(
    authorizer: &Authorizer,
    prefix: &str,
    question: &Question,
    protocol: BackendProtocol,
    is_tls: bool,
) -> Result<Request<Full<Bytes>>, Failure> {
    let path = PathAndQuery::try_from(format!("{prefix}{}", question.target));
    let path = path.map_err(|_| Failure::Invalid("the path of the request can't be sent"))?;
    let mut request = Request::new(Full::new(question.body.clone()));
    *request.method_mut() = question.method.clone();
    let headers = request.headers_mut();
    for name in authorizer.request_headers.iter().filter(|it| fields::may_be_asked(it)) {
        copy(&question.headers, name, headers);
    }
    if !headers.contains_key(header::AUTHORIZATION) {
        copy(&question.headers, &header::AUTHORIZATION, headers);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(question.body.len()));
    let host = Failure::Invalid("the host of the request can't be sent");
    match protocol {
        BackendProtocol::H2c => {
            let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
            let uri = Uri::builder().scheme(scheme).authority(question.host.as_str()).path_and_query(path);
            *request.uri_mut() = uri.build().map_err(|_| host)?;
            *request.version_mut() = Version::HTTP_2;
        }
        BackendProtocol::Http1 | BackendProtocol::Tcp | BackendProtocol::Udp => {
            let value = HeaderValue::from_str(&question.host).map_err(|_| host)?;
            request.headers_mut().insert(header::HOST, value);
            *request.uri_mut() = Uri::from(path);
        }
    }
    Ok(request)
}

fn copy(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) {
    for value in from.get_all(name) {
        to.append(name.clone(), value.clone());
    }
}

/// What the answer says. Only 200 lets a request go on; a server that fails has said nothing.
pub(super) fn verdict(authorizer: &Authorizer, answer: CallAnswer) -> Verdict {
    match answer.status {
        StatusCode::OK => match changes(authorizer, &answer.headers) {
            Ok(changes) => Verdict::Allowed(Box::new(changes)),
            Err(failure) => Verdict::Failed(failure),
        },
        status if status.is_server_error() => Verdict::Failed(Failure::Failed(status.as_u16())),
        status => {
            let status = denial(status.as_u16());
            Verdict::Denied(Box::new(Denied {
                status,
                grpc_status: grpc_status(status),
                fields: denied_fields(authorizer, &answer.headers, answer.body.is_some()),
                body: answer.body.unwrap_or_default(),
            }))
        }
    }
}

/// Fields of the answer that become the request's. What a client sends under such a name goes in any case: it would be
/// taken for the authoriser's word.
fn changes(authorizer: &Authorizer, answer: &HeaderMap) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    let named = &authorizer.response_headers;
    if named.is_empty() {
        let copied = |it: &&HeaderName| fields::may_be_copied(it) && !fields::is_nominated(answer, it);
        answer.keys().filter(copied).for_each(|name| take_over(answer, name, &mut changes));
    } else {
        named.iter().filter(|it| fields::may_be_set(it)).for_each(|it| take_over(answer, it, &mut changes));
    }
    let removed = answer.get_all(&TO_REMOVE).into_iter().filter_map(|value| value.to_str().ok());
    let removed = removed.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    changes.request.extend(removed.filter(fields::may_be_set).map(Edit::Remove));
    match changes.len() {
        0..=Changes::MOST => Ok(changes),
        _ => Err(Failure::Invalid("it sets too many fields")),
    }
}

fn take_over(answer: &HeaderMap, name: &HeaderName, changes: &mut Changes) {
    changes.request.push(Edit::Remove(name.clone()));
    changes.request.extend(answer.get_all(name).into_iter().map(|it| Edit::Add(name.clone(), it.clone())));
}

fn denied_fields(
    authorizer: &Authorizer,
    answer: &HeaderMap,
    has_body: bool,
) -> Vec<(HeaderName, HeaderValue)> {
    let named = &authorizer.response_headers;
    let is_listed = |name: &HeaderName| {
        named.is_empty() && *name != header::DATE && *name != header::SERVER
            || named.contains(name)
            || fields::is_of_denial(name)
    };
    let passes = |name: &HeaderName| {
        fields::may_be_answered(name)
            && is_listed(name)
            && !fields::is_nominated(answer, name)
            && (has_body || !name.as_str().starts_with("content-"))
    };
    let passing = answer.iter().filter(|(name, _)| passes(name));
    passing.map(|(name, value)| (name.clone(), value.clone())).take(Changes::MOST).collect()
}

//! Asking in gRPC: `envoy.service.auth.v3.Authorization/Check`.

use super::message::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    HttpRequest, OkHttpResponse, Peer, Request as Attributes, SocketAddress, Timestamp, TlsSession,
};
use super::{Authorizer, Changes, Denied, Edit, Failure, Question, Verdict, denial, fields, grpc_status};
use crate::upstream::CallAnswer;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::Full;
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Bytes that an answer may have.
pub(super) const MOST_BYTES: usize = 256 * 1024;
/// Bytes of the body of a denial that the client gets; a larger one is left out.
const MOST_BODY_BYTES: usize = super::http::MOST_BODY_BYTES;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The call. `time` is what is left for it.
pub(super) fn request(
    authorizer: &Authorizer,
    context: &BTreeMap<String, String>,
    question: &Question,
    is_tls: bool,
    time: Duration,
) -> Result<Request<Full<Bytes>>, Failure> {
    let message = CheckRequest { attributes: Some(attributes(authorizer, context, question)) };
    let length = message.encoded_len();
    let mut body = BytesMut::with_capacity(PREFIX + length);
    body.put_u8(0);
    body.put_u32(u32::try_from(length).map_err(|_| Failure::Invalid("the request is too large to be told"))?);
    message.encode(&mut body).map_err(|_| Failure::Invalid("the request can't be told"))?;
    let uri = Uri::builder()
        .scheme(if is_tls { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authorizer.authority.clone())
        .path_and_query("/envoy.service.auth.v3.Authorization/Check")
        .build()
        .map_err(|_| Failure::Invalid("its name can't be sent"))?;
    let mut request = Request::new(Full::new(body.freeze()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers
        .insert(header::USER_AGENT, HeaderValue::from_static(concat!("sluice/", env!("CARGO_PKG_VERSION"))));
    let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).clamp(1, 99_999_999);
    if let Ok(timeout) = HeaderValue::try_from(format!("{ms}m")) {
        headers.insert("grpc-timeout", timeout);
    }
    Ok(request)
}

fn attributes(
    authorizer: &Authorizer,
    context: &BTreeMap<String, String>,
    question: &Question,
) -> AttributeContext {
    let scheme = if question.is_tls { "https" } else { "http" };
    let text = |name: &str| question.headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let (body, raw_body) = match std::str::from_utf8(&question.body) {
        Ok(text) => (text.to_owned(), Bytes::new()),
        Err(_) => (String::new(), question.body.clone()),
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let http = HttpRequest {
        id: text("x-request-id").unwrap_or_default(),
        method: question.method.as_str().to_owned(),
        headers: headers(authorizer, question, scheme),
        path: question.target.clone(),
        host: question.host.clone(),
        scheme: scheme.to_owned(),
        size: text("content-length").and_then(|it| it.parse().ok()).unwrap_or(-1),
        protocol: match question.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
        .to_owned(),
        body,
        raw_body,
    };
    AttributeContext {
        source: Some(peer(question.client)),
        destination: Some(peer(question.local)),
        request: Some(Attributes {
            time: Some(Timestamp {
                seconds: i64::try_from(since.as_secs()).unwrap_or_default(),
                nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
            }),
            http: Some(http),
        }),
        context_extensions: context.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        tls_session: question.server_name.clone().map(|sni| TlsSession { sni }),
    }
}

fn peer(address: SocketAddr) -> Peer {
    let socket_address =
        SocketAddress { address: address.ip().to_string(), port_value: Some(u32::from(address.port())) };
    Peer { address: Some(Address { socket_address: Some(socket_address) }) }
}

/// All fields, with those of HTTP/2 that say where the request goes; where names are listed, only these. Several of one
/// name are joined (RFC 9110 §5.3); values that are no text are told as far as they are.
fn headers(authorizer: &Authorizer, question: &Question, scheme: &str) -> HashMap<String, String> {
    let named = &authorizer.request_headers;
    let mut told = HashMap::new();
    if named.is_empty() {
        for (name, value) in [
            (":authority", question.host.as_str()),
            (":method", question.method.as_str()),
            (":path", question.target.as_str()),
            (":scheme", scheme),
        ] {
            told.insert(name.to_owned(), value.to_owned());
        }
    }
    for name in question.headers.keys() {
        let is_told = if named.is_empty() { *name != header::HOST } else { named.contains(name) };
        if is_told {
            let values = question.headers.get_all(name).into_iter();
            let values: Vec<_> = values.map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
            // RFC 9113 §8.2.3: crumbs of a cookie are joined in their own way.
            let between = if *name == header::COOKIE { "; " } else { "," };
            told.insert(name.as_str().to_owned(), values.join(between));
        }
    }
    told
}

/// What the answer says.
pub(super) fn verdict(answer: &CallAnswer) -> Verdict {
    match message(answer) {
        Ok(message) => judge(message),
        Err(failure) => Verdict::Failed(failure),
    }
}

/// The message of the answer: one, whole, of a call that went well.
fn message(answer: &CallAnswer) -> Result<CheckResponse, Failure> {
    if answer.status != StatusCode::OK {
        return Err(match answer.status.is_server_error() {
            true => Failure::Failed(answer.status.as_u16()),
            false => Failure::Invalid("it does not speak gRPC"),
        });
    }
    let kind = answer.headers.get(header::CONTENT_TYPE).map(|it| it.as_bytes());
    if !kind.is_some_and(|it| it.starts_with(b"application/grpc")) {
        return Err(Failure::Invalid("it does not speak gRPC"));
    }
    let Some(body) = &answer.body else { return Err(Failure::Invalid("it is too large")) };
    let code = |fields: &HeaderMap| -> Option<u16> { fields.get("grpc-status")?.to_str().ok()?.parse().ok() };
    match code(&answer.trailers).or_else(|| code(&answer.headers)) {
        Some(0) => {}
        // UNKNOWN, CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE: it is not well.
        Some(code @ (1 | 2 | 4 | 8 | 10 | 13 | 14)) => return Err(Failure::Failed(code)),
        Some(_) => return Err(Failure::Invalid("it refuses the call")),
        None => return Err(Failure::Invalid("it has no grpc-status")),
    }
    let Some((prefix, message)) = body.split_at_checked(PREFIX) else {
        return Err(Failure::Invalid("it has no message"));
    };
    let length = prefix.iter().skip(1).fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    if prefix.first() != Some(&0) || length != message.len() {
        return Err(Failure::Invalid("it is not one plain message"));
    }
    CheckResponse::decode(message).map_err(|_| Failure::Invalid("its message can't be read"))
}

/// Status OK lets a request go on. A message that says nothing at all is none that an authoriser sends, so that it does
/// not count as one.
fn judge(message: CheckResponse) -> Verdict {
    let code = match (&message.status, &message.ok_response) {
        (Some(status), _) => status.code,
        (None, Some(_)) => 0,
        (None, None) if message.denied_response.is_some() => 7,
        (None, None) => return Verdict::Failed(Failure::Invalid("it says nothing")),
    };
    match (code, message.denied_response) {
        (0, None) => match changes(message.ok_response.unwrap_or_default()) {
            Ok(changes) => Verdict::Allowed(Box::new(changes)),
            Err(failure) => Verdict::Failed(failure),
        },
        (code, denied) => Verdict::Denied(Box::new(refusal(code, denied.unwrap_or_default()))),
    }
}

fn refusal(code: i32, denied: DeniedHttpResponse) -> Denied {
    let written = denied.status.and_then(|it| u16::try_from(it.code).ok()).unwrap_or_default();
    let status = denial(written);
    let mut answered: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for option in denied.headers.into_iter().take(Changes::MOST) {
        // A field that can't be sent is left out: the request is denied all the same.
        let Some((name, value)) = field(&option).filter(|(name, _)| fields::may_be_answered(name)) else {
            continue;
        };
        // Cookies are set one by one, whatever is said of appending.
        let replaces = action(&option, Action::Set) == Action::Set && name != header::SET_COOKIE;
        if replaces {
            answered.retain(|(known, _)| *known != name);
        }
        answered.push((name, value));
    }
    let is_small = denied.body.len() <= MOST_BODY_BYTES;
    Denied {
        status,
        grpc_status: u8::try_from(code)
            .ok()
            .filter(|it| (1..=16).contains(it))
            .unwrap_or_else(|| grpc_status(status)),
        fields: answered,
        body: if is_small { Bytes::from(denied.body) } else { Bytes::new() },
    }
}

/// `HeaderAppendAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add,
    AddIfAbsent,
    Set,
    SetIfPresent,
}

/// What becomes of fields that are there; `usual` where nothing is said.
fn action(option: &HeaderValueOption, usual: Action) -> Action {
    match (option.append, option.append_action) {
        (Some(append), _) => {
            if append.value {
                Action::Add
            } else {
                Action::Set
            }
        }
        (None, 1) => Action::AddIfAbsent,
        (None, 2) => Action::Set,
        (None, 3) => Action::SetIfPresent,
        (None, _) => usual,
    }
}

fn changes(ok: OkHttpResponse) -> Result<Changes, Failure> {
    let invalid = || Failure::Invalid("it sets a field that can't be");
    let mut changes = Changes::default();
    for option in ok.headers.iter().filter(|it| !is_pseudo(it)) {
        let (name, value) = field(option).ok_or_else(invalid)?;
        if fields::may_be_set(&name) {
            changes.request.push(edit(action(option, Action::Set), name, value));
        }
    }
    // After what is set, as Envoy has it. Names that are none name no field.
    let removed = ok.headers_to_remove.iter().filter_map(|it| it.parse().ok());
    changes.request.extend(removed.filter(fields::may_be_set).map(Edit::Remove));
    for option in ok.response_headers_to_add.iter().filter(|it| !is_pseudo(it)) {
        let (name, value) = field(option).ok_or_else(invalid)?;
        if fields::may_be_answered(&name) {
            changes.answer.push(edit(action(option, Action::Add), name, value));
        }
    }
    changes.query_set = ok.query_parameters_to_set.into_iter().map(|it| (it.key, it.value)).collect();
    changes.query_remove = ok.query_parameters_to_remove;
    match changes.len() {
        0..=Changes::MOST => Ok(changes),
        _ => Err(Failure::Invalid("it sets too much")),
    }
}

fn edit(action: Action, name: HeaderName, value: HeaderValue) -> Edit {
    match action {
        Action::Add => Edit::Add(name, value),
        Action::AddIfAbsent => Edit::AddIfAbsent(name, value),
        Action::Set => Edit::Set(name, value),
        Action::SetIfPresent => Edit::SetIfPresent(name, value),
    }
}

/// `:path` and its like are settled: what is said of them is passed over.
fn is_pseudo(option: &HeaderValueOption) -> bool {
    option.header.as_ref().is_some_and(|it| it.key.starts_with(':'))
}

fn field(option: &HeaderValueOption) -> Option<(HeaderName, HeaderValue)> {
    let header = option.header.as_ref()?;
    let name = header.key.parse().ok()?;
    let value = if header.raw_value.is_empty() { header.value.as_bytes() } else { &*header.raw_value };
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

//! What a match asks of a request besides its path: method, headers, query parameters, and whether it is gRPC.

use crate::compile::{CallTest, CompiledMatch, HeaderTest, QueryTest};
use crate::pattern::Text;
use crate::query::{Query, decode, decodes_to};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};

/// The parts of a request that decide its route. Building one costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Lower case, without port and trailing dot: what [`crate::host::host_of`] returns.
    pub host: &'a str,
    /// In the form that [`crate::path::normalize`] returns.
    pub path: &'a str,
    /// What follows `?`, as sent.
    pub query: Option<&'a str>,
    /// As sent; methods are case-sensitive (RFC 9110 §9.1).
    pub method: &'a str,
    /// All header fields.
    pub headers: &'a HeaderMap,
}

/// A request, and what was learned about it on the way; each thing is worked out at most once.
pub(crate) struct Probe<'a> {
    pub(crate) request: Request<'a>,
    query: Option<Query<'a>>,
    call: Option<Option<Call<'a>>>,
}

/// A gRPC call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    service: &'a str,
    method: &'a str,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(request: Request<'a>) -> Self {
        Self { request, query: None, call: None }
    }

    /// The raw value of the first parameter of that name.
    fn query_value(&mut self, name: &str) -> Option<&'a [u8]> {
        let text = self.request.query?;
        self.query.get_or_insert_with(|| Query::parse(text)).first(name)
    }

    /// The gRPC call, if the request is one.
    pub(crate) fn call(&mut self) -> Option<Call<'a>> {
        let request = self.request;
        *self.call.get_or_insert_with(|| call_of(&request))
    }
}

fn call_of<'a>(request: &Request<'a>) -> Option<Call<'a>> {
    // gRPC over HTTP/2, Requests: "Content-Type" begins with "application/grpc"; gRPC-Web fits too.
    let content_type = request.headers.get(CONTENT_TYPE)?.as_bytes();
    let is_grpc = content_type.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"));
    if !is_grpc {
        return None;
    }
    let (service, method) = request.path.strip_prefix('/')?.split_once('/')?;
    let is_call = !service.is_empty() && !method.is_empty() && !method.contains('/');
    is_call.then_some(Call { service, method })
}

/// Whether everything but the path holds.
#[inline]
pub(crate) fn all_met(it: &CompiledMatch, probe: &mut Probe<'_>) -> bool {
    let Some(it) = &it.conditions else { return true };
    it.method.as_deref().is_none_or(|method| method == probe.request.method)
        && it.call.as_ref().is_none_or(|test| call_met(test, probe))
        && it.headers.iter().all(|test| header_met(test, probe.request.headers))
        && it.query.iter().all(|test| query_met(test, probe))
}

/// Whether the request is a gRPC call with these parts. A part that was looked up by path is `None` here.
pub(crate) fn call_met(test: &CallTest, probe: &mut Probe<'_>) -> bool {
    let Some(call) = probe.call() else { return false };
    test.service.as_ref().is_none_or(|text| text.is_match(call.service.as_bytes()))
        && test.method.as_ref().is_none_or(|text| text.is_match(call.method.as_bytes()))
}

pub(crate) fn header_met(test: &HeaderTest, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(&test.name).iter();
    let Some(first) = values.next() else { return false };
    match values.next() {
        None => test.value.is_match(first.as_bytes()),
        Some(_) => joined_met(&test.value, headers.get_all(&test.name).iter()),
    }
}

/// Several fields of one name are compared as one, joined by `,` (RFC 9110 §5.3). Allocates for an expression only.
fn joined_met<'a>(text: &Text, values: impl Iterator<Item = &'a HeaderValue>) -> bool {
    let mut is_first = true;
    let bytes = values.flat_map(|value| {
        let comma = if std::mem::take(&mut is_first) { &b""[..] } else { b"," };
        comma.iter().chain(value.as_bytes()).copied()
    });
    match text {
        Text::Exact(exact) => bytes.eq(exact.bytes()),
        Text::Regex(regex) => regex.is_match(&bytes.collect::<Vec<u8>>()),
    }
}

/// Allocates for an expression and an encoded value only.
pub(crate) fn query_met(test: &QueryTest, probe: &mut Probe<'_>) -> bool {
    let Some(raw) = probe.query_value(&test.name) else { return false };
    match &test.value {
        Text::Exact(exact) => decodes_to(raw, exact),
        Text::Regex(regex) => regex.is_match(&decode(raw)),
    }
}

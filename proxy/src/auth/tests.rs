#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{
    Authorizer, Changes, Edit, Failure, Question, Verdict, denial, grpc, grpc_status, http, message,
};
use crate::upstream::CallAnswer;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use prost::Message as _;
use sluice_ir as ir;
use std::collections::BTreeMap;
use std::time::Duration;

fn authorizer(protocol: ir::AuthProtocol, request_headers: &[&str]) -> Authorizer {
    let settings = ir::Authorizer {
        target: ir::BackendTarget::Fail(Box::new(ir::Fail { status: 500, reason: "none".to_owned() })),
        protocol,
        request_headers: request_headers.iter().map(|it| (*it).to_owned()).collect(),
        body_bytes: 0,
        timeout: Duration::from_secs(1),
        allows_on_failure: false,
        failure_status: 503,
    };
    Authorizer::compile(&settings, |_| None)
}

fn http_authorizer(response_headers: &[&str]) -> Authorizer {
    let response_headers = response_headers.iter().map(|it| (*it).to_owned()).collect();
    authorizer(ir::AuthProtocol::Http { prefix: "/ask".to_owned(), response_headers }, &["x-a"])
}

fn grpc_authorizer(request_headers: &[&str]) -> Authorizer {
    authorizer(ir::AuthProtocol::Grpc { context: BTreeMap::new() }, request_headers)
}

fn question() -> Question {
    let fields = [("x-a", "1"), ("cookie", "c"), ("x-a", "2"), ("te", "trailers"), ("content-length", "5")];
    let field = |(name, value): (&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.map(field) {
        headers.append(name, value);
    }
    Question {
        method: Method::POST,
        host: "shop.example:8080".to_owned(),
        target: "/cart?a=b".to_owned(),
        headers,
        body: Bytes::new(),
        is_tls: true,
        version: Version::HTTP_2,
        client: "192.0.2.7:40000".parse().unwrap(),
        local: "[2001:db8::1]:443".parse().unwrap(),
        server_name: Some("shop.example".to_owned()),
    }
}

fn answer(status: u16, fields: &[(&'static str, &'static str)], body: &[u8]) -> CallAnswer {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    CallAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Some(Bytes::copy_from_slice(body)),
        trailers: HeaderMap::new(),
    }
}

/// A good call with these bytes as its message.
fn called(message: &[u8]) -> CallAnswer {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(message);
    let mut it = answer(200, &[("content-type", "application/grpc")], &body);
    it.trailers.insert("grpc-status", HeaderValue::from_static("0"));
    it
}

fn invalid(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Failed(Failure::Invalid(_)))
}

#[test]
fn an_http_question_has_the_usual_fields_and_those_that_are_listed() {
    let protocol = ir::BackendProtocol::Http1;
    let asked = http::request(&http_authorizer(&[]), "/ask", &question(), protocol, false).unwrap();
    assert_eq!((asked.method(), asked.uri().to_string().as_str()), (&Method::POST, "/ask/cart?a=b"));
    let mut names: Vec<_> =
        asked.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    names.sort_unstable();
    let wanted = [("content-length", "0"), ("host", "shop.example:8080"), ("x-a", "1"), ("x-a", "2")];
    assert_eq!(names, wanted);
    let protocol = ir::BackendProtocol::H2c;
    let asked = http::request(&http_authorizer(&[]), "", &question(), protocol, true).unwrap();
    assert_eq!(asked.uri().to_string(), "https://shop.example:8080/cart?a=b");
    assert!(!asked.headers().contains_key("host"));
}

#[test]
fn a_client_keeps_no_field_that_only_the_authoriser_may_set() {
    let it = http_authorizer(&["x-user", "x-team", "host"]);
    let Verdict::Allowed(changes) =
        http::verdict(&it, answer(200, &[("x-user", "alice"), ("host", "evil")], b""))
    else {
        panic!()
    };
    let name = HeaderName::from_static;
    let wanted = [
        Edit::Remove(name("x-user")),
        Edit::Add(name("x-user"), HeaderValue::from_static("alice")),
        Edit::Remove(name("x-team")),
    ];
    assert_eq!(changes.request, wanted);
}

#[test]
fn statuses_say_yes_no_or_nothing() {
    let it = http_authorizer(&[]);
    for status in [201, 204, 301, 401, 403, 404, 429] {
        let Verdict::Denied(denied) = http::verdict(&it, answer(status, &[], b"")) else {
            panic!("{status}")
        };
        assert_eq!(denied.status, if status < 300 { 403 } else { status });
    }
    for status in [500, 503] {
        assert!(matches!(http::verdict(&it, answer(status, &[], b"")), Verdict::Failed(Failure::Failed(_))));
    }
    assert_eq!((denial(99), denial(200), denial(302), denial(600)), (403, 403, 302, 403));
    assert_eq!((grpc_status(302), grpc_status(401), grpc_status(403), grpc_status(429)), (16, 16, 7, 8));
}

/// Field numbers and types as Envoy's API has them, in the bytes of the wire.
#[test]
fn messages_are_those_of_envoys_api() {
    // CheckResponse{status{code: 7}, denied_response{status{code: 401}, headers{header{key: "a", value: "b"},
    // append{value: true}}, body: "no"}}
    let bytes = b"\x0a\x02\x08\x07\x12\x17\x0a\x03\x08\x91\x03\x12\x0c\x0a\x06\x0a\x01a\x12\x01b\x12\x02\x08\x01\x1a\x02no";
    let read = message::CheckResponse::decode(&bytes[..]).unwrap();
    assert_eq!(read.status.as_ref().unwrap().code, 7);
    let denied = read.denied_response.as_ref().unwrap();
    assert_eq!((denied.status.unwrap().code, denied.body.as_str()), (401, "no"));
    assert!(denied.headers[0].append.unwrap().value);
    assert_eq!(read.encode_to_vec(), bytes);
    // ok_response is 3; within it headers 2, headers_to_remove 5, response_headers_to_add 6, query parameters 7 and 8.
    let bytes = b"\x1a\x24\x12\x08\x0a\x06\x0a\x01a\x12\x01b\x2a\x01c\x32\x0a\x0a\x06\x0a\x01d\x12\x01e\x18\x02\x3a\x06\x0a\x01f\x12\x01g\x42\x01h";
    let read = message::CheckResponse::decode(&bytes[..]).unwrap();
    let ok = read.ok_response.as_ref().unwrap();
    assert_eq!(
        (ok.headers_to_remove.as_slice(), ok.query_parameters_to_remove.as_slice()),
        (&["c".to_owned()][..], &["h".to_owned()][..])
    );
    assert_eq!(ok.response_headers_to_add[0].append_action, 2);
    assert_eq!(ok.query_parameters_to_set[0].value, "g");
    assert_eq!(read.encode_to_vec(), bytes);
}

#[tokio::test]
async fn a_grpc_question_tells_of_the_request() {
    let it = grpc_authorizer(&["x-a"]);
    let context = BTreeMap::from([("team".to_owned(), "shop".to_owned())]);
    let asked = grpc::request(&it, &context, &question(), false, Duration::from_millis(1500)).unwrap();
    assert_eq!(asked.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(asked.headers()["grpc-timeout"], "1500m");
    let body = asked.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(usize::from(body[4]) + usize::from(body[3]) * 256, body.len() - 5);
    let told = message::CheckRequest::decode(&body[5..]).unwrap().attributes.unwrap();
    let source = told.source.unwrap().address.unwrap().socket_address.unwrap();
    assert_eq!((source.address.as_str(), source.port_value), ("192.0.2.7", Some(40_000)));
    assert_eq!(told.destination.unwrap().address.unwrap().socket_address.unwrap().address, "2001:db8::1");
    assert_eq!(
        (told.context_extensions["team"].as_str(), told.tls_session.unwrap().sni.as_str()),
        ("shop", "shop.example")
    );
    let http = told.request.unwrap().http.unwrap();
    assert_eq!((http.scheme.as_str(), http.protocol.as_str(), http.size), ("https", "HTTP/2", 5));
    assert_eq!(http.headers.len(), 1, "only what is listed");
    assert_eq!(http.headers["x-a"], "1,2");
    let all =
        grpc::request(&grpc_authorizer(&[]), &BTreeMap::new(), &question(), false, Duration::ZERO).unwrap();
    assert_eq!(all.headers()["grpc-timeout"], "1m");
}

#[test]
fn only_one_whole_message_that_says_something_is_a_verdict() {
    let allowed = message::CheckResponse { status: Some(message::Status::default()), ..Default::default() };
    assert!(
        matches!(grpc::verdict(&called(&allowed.encode_to_vec())), Verdict::Allowed(changes) if *changes == Changes::default())
    );
    assert!(invalid(&grpc::verdict(&called(b""))), "an empty message says nothing");
    assert!(invalid(&grpc::verdict(&called(b"\xff\xff\xff"))));
    let mut two = called(b"\x0a\x00");
    two.body = two.body.map(|it| [it.clone(), it].concat().into());
    assert!(invalid(&grpc::verdict(&two)));
    let mut compressed = called(b"\x0a\x00");
    compressed.body = Some(Bytes::from_static(b"\x01\x00\x00\x00\x02\x0a\x00"));
    assert!(invalid(&grpc::verdict(&compressed)));
    let unsaid = CallAnswer { trailers: HeaderMap::new(), ..called(b"\x0a\x00") };
    assert!(invalid(&grpc::verdict(&unsaid)));
    let large = CallAnswer { body: None, ..called(b"") };
    assert!(invalid(&grpc::verdict(&large)));
    assert!(invalid(&grpc::verdict(&answer(200, &[("content-type", "text/html")], b"<p>"))));
    for (code, is_silence) in [("14", true), ("4", true), ("7", false), ("12", false), ("x", false)] {
        let only_trailers = answer(200, &[("content-type", "application/grpc"), ("grpc-status", code)], b"");
        let Verdict::Failed(failure) = grpc::verdict(&only_trailers) else { panic!("{code}") };
        assert_eq!(failure.is_silence(), is_silence, "{code}");
    }
}

proptest! {
    #[test]
    fn no_bytes_let_a_request_go_on_by_accident_or_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let verdict = grpc::verdict(&called(&bytes));
        if matches!(verdict, Verdict::Allowed(_)) {
            let read = message::CheckResponse::decode(&bytes[..]).unwrap();
            prop_assert!(read.denied_response.is_none());
            prop_assert_eq!(read.status.map_or(0, |it| it.code), 0);
        }
        let raw = CallAnswer { body: Some(bytes.into()), ..called(b"") };
        let _ = grpc::verdict(&raw);
    }
}

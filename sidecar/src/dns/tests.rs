//! What becomes of each kind of question.

use super::answer::{Decision, decide};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use std::collections::BTreeMap;
use std::net::IpAddr;

const SEARCH: Option<&str> = Some("shop.svc.cluster.local");

fn names() -> BTreeMap<String, Vec<IpAddr>> {
    let many = (0..60_u8).map(|last| IpAddr::from([240, 240, 1, last]));
    BTreeMap::from([
        ("api.example.com".to_owned(), vec!["240.240.0.1".parse().unwrap(), "2001:2::1".parse().unwrap()]),
        ("four.example.com".to_owned(), vec!["240.240.0.4".parse().unwrap()]),
        ("*.wild.example.com".to_owned(), vec!["240.240.0.2".parse().unwrap()]),
        ("many.example.com".to_owned(), many.collect()),
    ])
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn decided(message: &Message) -> Decision {
    decide(&message.to_vec().unwrap(), Some(&names()), SEARCH, true)
}

fn answered(name: &str, kind: RecordType) -> Message {
    match decided(&question(name, kind)) {
        Decision::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
        other => panic!("{name} {kind}: {other:?}"),
    }
}

fn addresses(message: &Message) -> Vec<String> {
    let text = |data: &RData| match data {
        RData::A(it) => it.0.to_string(),
        RData::AAAA(it) => it.0.to_string(),
        RData::CNAME(it) => it.0.to_ascii(),
        other => panic!("{other:?}"),
    };
    message.answers.iter().map(|record| text(&record.data)).collect()
}

#[test]
fn a_known_name_is_answered_with_the_address_of_the_asked_family() {
    let answer = answered("API.example.com.", RecordType::A);
    assert_eq!(answer.metadata.id, 4711);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    assert_eq!(answer.answers[0].ttl, 30);
    assert_eq!(answer.answers[0].name.to_ascii(), "API.example.com.", "as it was asked for");
    assert_eq!(addresses(&answer), ["240.240.0.1"]);
    assert_eq!(addresses(&answered("api.example.com.", RecordType::AAAA)), ["2001:2::1"]);
    assert_eq!(addresses(&answered("api.example.com.", RecordType::ANY)), ["240.240.0.1", "2001:2::1"]);
    assert_eq!(addresses(&answered("a.b.wild.example.com.", RecordType::A)), ["240.240.0.2"]);
}

#[test]
fn a_known_name_without_such_an_address_has_an_empty_answer() {
    for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB] {
        let answer = answered("four.example.com.", kind);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{kind}");
        assert!(answer.answers.is_empty(), "{kind}");
    }
}

#[test]
fn a_search_domain_is_told_as_an_alias() {
    let answer = answered("api.example.com.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(addresses(&answer), ["api.example.com.", "240.240.0.1"]);
    assert_eq!(answer.answers[1].name.to_ascii(), "api.example.com.");
}

#[test]
fn everything_else_is_handed_on() {
    let forwarded = Decision::Forward { room: 512 };
    assert_eq!(decided(&question("other.example.com.", RecordType::A)), forwarded);
    for kind in [RecordType::TXT, RecordType::MX, RecordType::SRV, RecordType::PTR] {
        assert_eq!(decided(&question("api.example.com.", kind)), forwarded, "{kind}");
    }
    let mut chaos = question("api.example.com.", RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(decided(&chaos), forwarded);
    let bytes = question("api.example.com.", RecordType::A).to_vec().unwrap();
    assert_eq!(decide(&bytes, None, SEARCH, true), forwarded, "no configuration yet");
    let mut roomy = question("other.example.com.", RecordType::A);
    for (asked, given) in [(1232, 1232), (100, 512), (65_000, 4096)] {
        let mut edns = Edns::new();
        edns.set_max_payload(asked);
        roomy.set_edns(edns);
        assert_eq!(decided(&roomy), Decision::Forward { room: given }, "EDNS says {asked}");
    }
}

#[test]
fn an_answer_that_does_not_fit_says_so() {
    let small = answered("many.example.com.", RecordType::A);
    assert!(small.metadata.truncation && small.answers.is_empty());
    let bytes = question("many.example.com.", RecordType::A).to_vec().unwrap();
    let Decision::Answer(whole) = decide(&bytes, Some(&names()), SEARCH, false) else { panic!() };
    let whole = Message::from_vec(&whole).unwrap();
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 60, "on a connection it fits");
    let mut roomy = question("many.example.com.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    roomy.set_edns(edns);
    let Decision::Answer(bytes) = decided(&roomy) else { panic!() };
    let answer = Message::from_vec(&bytes).unwrap();
    assert_eq!(answer.answers.len(), 60);
    assert!(answer.edns.is_some(), "EDNS is answered by EDNS");
}

#[test]
fn what_is_no_question_is_refused_or_passed_over() {
    let refused = |bytes: &[u8]| match decide(bytes, Some(&names()), SEARCH, true) {
        Decision::Answer(bytes) => Message::from_vec(&bytes).unwrap().metadata.response_code,
        other => panic!("{other:?}"),
    };
    let mut notify = question("api.example.com.", RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(refused(&notify.to_vec().unwrap()), ResponseCode::NotImp);
    let mut two = question("api.example.com.", RecordType::A);
    two.add_query(Query::query(Name::from_ascii("b.test.").unwrap(), RecordType::A));
    assert_eq!(refused(&two.to_vec().unwrap()), ResponseCode::FormErr);
    let bytes = question("api.example.com.", RecordType::A).to_vec().unwrap();
    assert_eq!(refused(&bytes[..20]), ResponseCode::FormErr, "cut short");
    let mut response = question("api.example.com.", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert_eq!(decided(&response), Decision::Ignore);
    for garbage in [&b""[..], b"x", b"0123456789a", &[0xff; 64]] {
        assert_eq!(decide(garbage, Some(&names()), SEARCH, true), Decision::Ignore, "{garbage:?}");
    }
}

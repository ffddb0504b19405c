//! What becomes of a question: an answer from the mesh's names, or it is handed on.

use super::message::{self, FORMAT_ERROR, NOT_IMPLEMENTED};
use super::names::{self, Found};
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How long an answer is good, seconds: names come and go with their ServiceEntries (Istio's NDS has the same).
const TTL_S: u32 = 30;
/// Bytes of an answer over UDP where the question names none (RFC 1035 §4.2.1).
const LEAST_ROOM: u16 = 512;
/// Bytes that are taken and given over UDP at most: what passes every network whole, and some more (RFC 6891 §6.2.5).
pub(super) const MOST_ROOM: u16 = 4096;

/// What to do with a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This is the answer.
    Answer(Vec<u8>),
    /// The servers know; an answer over UDP may have this many bytes.
    Forward { room: usize },
    /// It is no question.
    Ignore,
}

/// Decides. `room`: bytes that the way of the question has for an answer; over UDP what the question says counts too.
pub(super) fn decide(
    question: &[u8],
    names: Option<&BTreeMap<String, Vec<IpAddr>>>,
    search: Option<&str>,
    by_udp: bool,
) -> Decision {
    let plain = |code| match message::without_records(question, code, false) {
        Some(answer) => Decision::Answer(answer),
        None => Decision::Ignore,
    };
    let Ok(asked) = Message::from_vec(question) else {
        // Two that take each other's nonsense for questions must not go on for ever.
        return if question.get(2).is_some_and(|it| it & 0x80 == 0) {
            plain(FORMAT_ERROR)
        } else {
            Decision::Ignore
        };
    };
    if asked.metadata.message_type != MessageType::Query {
        return Decision::Ignore;
    }
    if asked.metadata.op_code != OpCode::Query {
        return plain(NOT_IMPLEMENTED);
    }
    let [query] = asked.queries.as_slice() else { return plain(FORMAT_ERROR) };
    let room = if by_udp { asked.max_payload().clamp(LEAST_ROOM, MOST_ROOM) } else { u16::MAX };
    let name = query.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.');
    let found = names.filter(|_| is_ours(query)).and_then(|names| names::find(names, search, name));
    match found.and_then(|found| answer(&asked, query, &found, room.into())) {
        Some(answer) => Decision::Answer(answer),
        None => Decision::Forward { room: room.into() },
    }
}

/// Addresses, and what carries addresses in passing (RFC 9460 §7.3), which would lead past the mesh. Texts, mail servers
/// and the like of a name that exists outside as well are asked of those who know.
fn is_ours(query: &Query) -> bool {
    use RecordType::{A, AAAA, ANY, HTTPS, SVCB};
    query.query_class() == DNSClass::IN && matches!(query.query_type(), A | AAAA | ANY | HTTPS | SVCB)
}

/// `None` when it can't be written, which happens to no name that could be read.
fn answer(asked: &Message, query: &Query, found: &Found<'_>, room: usize) -> Option<Vec<u8>> {
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&asked.metadata);
    answer.metadata.authoritative = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MOST_ROOM);
        answer.set_edns(edns);
    }
    let mut owner = query.name().clone();
    if let Some(short) = found.short_for {
        let target = Name::from_ascii(format!("{short}.")).ok()?;
        answer.add_answer(Record::from_rdata(owner, TTL_S, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    // A known name without such an address: an empty answer, so that nobody asks elsewhere for it.
    let records = found.addresses.iter().filter_map(|address| match (address, query.query_type()) {
        (IpAddr::V4(it), RecordType::A | RecordType::ANY) => Some(RData::A(A(*it))),
        (IpAddr::V6(it), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*it))),
        _ => None,
    });
    answer.add_answers(records.map(|data| Record::from_rdata(owner.clone(), TTL_S, data)));
    let bytes = answer.to_vec().ok()?;
    if bytes.len() <= room { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

//! TXT records by dynamic update (RFC 2136), signed with TSIG (RFC 8945).
//!
//! Other values at the name stay: a name and its wildcard are proven at the same name, with two values.

use super::ask::{ask, exchange};
use crate::{Rfc2136, TsigAlgorithm};
use hickory_proto::op::update_message::{append, delete_by_rdata};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm as Algorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use std::time::SystemTime;

/// Seconds that clocks may differ by (RFC 8945 §5.2.3 recommends it).
const FUDGE: u16 = 300;
/// Time to live of the record, in seconds: short, since it is gone soon.
const TTL: u32 = 30;

/// What to do with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
}

/// Adds or removes one value of the TXT records at `fqdn`. A value that is there already, or is not, is no error.
pub(crate) async fn update(
    settings: &Rfc2136,
    fqdn: &str,
    value: &str,
    change: Change,
) -> Result<(), String> {
    let name = parse(fqdn)?;
    let zone = zone(settings, &name).await?;
    if !zone.zone_of(&name) {
        return Err(format!("DNS: {fqdn} is not in the zone {zone}; check the zone of the DNS-01 solver"));
    }
    let mut records = RecordSet::new(name.clone(), RecordType::TXT, 0);
    records.insert(Record::from_rdata(name, TTL, RData::TXT(TXT::new(vec![value.to_owned()]))), 0);
    let message = match change {
        Change::Add => append(records, zone.clone(), false, false),
        Change::Remove => delete_by_rdata(records, zone.clone(), false),
    };
    send(settings, message, &zone).await
}

/// Signs, sends, and verifies that the answer comes from who has the key.
async fn send(settings: &Rfc2136, mut message: Message, zone: &Name) -> Result<(), String> {
    let said = |text: String| format!("DNS server {}: {text}", settings.server);
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let verifier = message.finalize(&signer(settings)?, seconds).map_err(|error| said(error.to_string()))?;
    let bytes = message.to_vec().map_err(|error| said(error.to_string()))?;
    let answer = exchange(settings.server, &bytes).await?;
    let code = Message::from_vec(&answer).map_err(|error| said(error.to_string()))?.metadata.response_code;
    if code != ResponseCode::NoError {
        let key = &settings.key_name;
        let text = format!(
            "the update of zone {zone} with key {key:?} is refused: {code}; check the key and its rights"
        );
        return Err(said(text));
    }
    let verified =
        verifier.ok_or_else(|| said("the update was not signed".to_owned()))?.verify(&answer).map(drop);
    verified.map_err(|error| said(format!("the answer is not signed with our key: {error}")))
}

fn signer(settings: &Rfc2136) -> Result<TSigner, String> {
    let algorithm = match settings.algorithm {
        TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    };
    let name = parse(&settings.key_name)?;
    TSigner::new(settings.key.expose().to_vec(), algorithm, name, FUDGE)
        .map_err(|error| format!("DNS: {error}"))
}

/// The configured zone, or the one that the server itself has the name in.
pub(crate) async fn zone(settings: &Rfc2136, name: &Name) -> Result<Name, String> {
    if let Some(zone) = &settings.zone {
        return parse(zone);
    }
    let answer = ask(settings.server, name, RecordType::SOA).await?;
    let records = answer.answers.iter().chain(&answer.authorities);
    let soa = records.filter(|it| it.record_type() == RecordType::SOA).map(|it| it.name.clone()).next();
    soa.ok_or_else(|| {
        format!(
            "DNS server {} has no zone of {name} ({}); name the zone in the solver",
            settings.server, answer.response_code
        )
    })
}

pub(crate) fn parse(name: &str) -> Result<Name, String> {
    let mut parsed = Name::from_ascii(name).map_err(|error| format!("DNS: {name:?} is no name: {error}"))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

//! The few bytes of a message that a forwarder looks at itself (RFC 1035 §4.1). The rest is carried as it came.

/// Length of the head.
const HEAD: usize = 12;
/// Bits of the third byte: this is an answer; it was cut.
const IS_ANSWER: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
/// Bits of the fourth: recursion is available; the response code.
const RECURSION_AVAILABLE: u8 = 0x80;
const CODE: u8 = 0x0f;

/// Response codes that are spoken of here.
pub(super) const NO_ERROR: u8 = 0;
pub(super) const FORMAT_ERROR: u8 = 1;
pub(super) const SERVER_FAILURE: u8 = 2;
pub(super) const NO_SUCH_NAME: u8 = 3;
pub(super) const NOT_IMPLEMENTED: u8 = 4;

/// The number that the answer must carry.
pub(super) fn id(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|it| u16::from_be_bytes(*it))
}

/// Writes another number.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
}

/// The response code, without what EDNS adds to it.
pub(super) fn code(message: &[u8]) -> Option<u8> {
    message.get(3).map(|it| it & CODE)
}

/// Whether it says that it was cut.
#[cfg(test)]
pub(super) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|it| it & TRUNCATED != 0)
}

/// The head and the first question of a query, made an answer: without records, with this code.
pub(super) fn without_records(query: &[u8], code: u8, truncated: bool) -> Option<Vec<u8>> {
    let head = query.get(..HEAD)?;
    let question = question(query).map(|(name, rest)| [name, rest].concat());
    let mut answer = head.to_vec();
    let [_, _, third, fourth, counts @ ..] = answer.as_mut_slice() else { return None };
    *third = (*third & !TRUNCATED) | IS_ANSWER | if truncated { TRUNCATED } else { 0 };
    *fourth = RECURSION_AVAILABLE | code;
    counts.fill(0);
    if let (Some(question), [_, count, ..]) = (question, counts) {
        *count = 1;
        answer.extend(question);
    }
    Some(answer)
}

/// Whether this answers that query: its number, its question. Servers that understood nothing may leave the question
/// out.
pub(super) fn answers(answer: &[u8], query: &[u8]) -> bool {
    let is_answer = answer.get(2).is_some_and(|it| it & IS_ANSWER != 0);
    if !is_answer || id(answer) != id(query) {
        return false;
    }
    match (question(answer), question(query)) {
        (Some((name, kind)), Some((asked, asked_kind))) => {
            name.eq_ignore_ascii_case(asked) && kind == asked_kind
        }
        (None, Some(_)) => code(answer).is_some_and(|it| it != NO_ERROR && it != NO_SUCH_NAME),
        (_, None) => false,
    }
}

/// The first question: its name, then type and class. `None`: there is none, or it is no plain name.
fn question(message: &[u8]) -> Option<(&[u8], &[u8])> {
    if message.get(4..6)? == [0, 0] {
        return None;
    }
    let mut at = HEAD;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        // A pointer, which the first name of a message has no place to point to.
        if length > 63 || at - HEAD > 254 {
            return None;
        }
        at += length;
    }
    Some((message.get(HEAD..at)?, message.get(at..at + 4)?))
}

#[cfg(test)]
mod tests {
    use super::{SERVER_FAILURE, answers, code, is_truncated, set_id, without_records};

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x04test\x00\x00\x01\x00\x01rest";

    #[test]
    fn an_answer_without_records_keeps_number_and_question() {
        let answer = without_records(QUERY, SERVER_FAILURE, true).unwrap();
        assert_eq!(
            answer,
            b"\x12\x34\x83\x82\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x04test\x00\x00\x01\x00\x01"
        );
        assert!(answers(&answer, QUERY) && is_truncated(&answer));
        assert_eq!(code(&answer), Some(SERVER_FAILURE));
        assert_eq!(without_records(&QUERY[..11], SERVER_FAILURE, false), None);
    }

    #[test]
    fn another_number_question_or_a_query_is_no_answer() {
        let answer = without_records(QUERY, 0, false).unwrap();
        let mut upper = answer.clone();
        upper[13..16].copy_from_slice(b"WWW");
        assert!(answers(&upper, QUERY), "case does not matter (RFC 4343)");
        let mut other_id = answer.clone();
        set_id(&mut other_id, 1);
        let (mut other_name, mut other_type) = (answer.clone(), answer.clone());
        other_name[13] = b'x';
        other_type[23] = 28;
        let mut no_question = answer[..12].to_vec();
        no_question[5] = 0;
        for wrong in [&other_id, &other_name, &other_type, &no_question, &QUERY.to_vec(), &Vec::new()] {
            assert!(!answers(wrong, QUERY), "{wrong:?}");
        }
        no_question[3] |= 5;
        assert!(answers(&no_question, QUERY), "a refusal may have no question");
    }
}

//! Putting untrusted bytes and numbers into a line so that nobody can forge another line, field or terminal command.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes that are looked at together: the compiler makes one comparison of them.
const LANES: usize = 16;

/// Whether a byte can't be copied as it is: quote, backslash, or nothing of printable ASCII.
fn is_special(byte: u8) -> bool {
    byte.wrapping_sub(b' ') > b'~' - b' ' || byte == b'"' || byte == b'\\'
}

/// Whether any of these bytes is special. Looks at all of them whatever it finds.
#[inline]
fn any_special<const N: usize>(bytes: &[u8; N]) -> bool {
    bytes.iter().fold(false, |any, byte| any | is_special(*byte))
}

/// [`any_special`] of eight bytes in one word: in each byte, the highest bit of the result tells.
#[inline]
fn word_special(bytes: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(bytes);
    let low = word & !HIGH;
    // A byte below 0x80 plus 0x7f or less carries into its own highest bit only.
    let is = |byte: u8| !((low ^ (ONES * u64::from(byte))) + (ONES * 0x7f));
    let is_printable = low + ONES * 0x60;
    ((word | !is_printable | is(0x7f) | is(b'"') | is(b'\\')) & HIGH) != 0
}

/// Whether all can be copied as it is. The end of a text is looked at together with bytes before it, so that no byte
/// is looked at alone unless there are fewer than four.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    if let (Some(start), Some(end)) = (text.first_chunk::<LANES>(), text.last_chunk::<LANES>()) {
        let (rest, _) = text.as_chunks::<LANES>();
        return !any_special(start) & !any_special(end) && !rest.iter().skip(1).any(any_special);
    }
    if let (Some(start), Some(end)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return !word_special(*start) & !word_special(*end);
    }
    if let (Some([a, b, c, d]), Some([e, f, g, h])) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return !word_special([*a, *b, *c, *d, *e, *f, *g, *h]);
    }
    !text.iter().any(|byte| is_special(*byte))
}

/// Length of the start that can be copied as it is, in whole [`LANES`].
fn plain_start(text: &[u8]) -> usize {
    let (chunks, _) = text.as_chunks::<LANES>();
    chunks.iter().take_while(|chunk| !any_special(chunk)).count() * LANES
}

/// Writes what stands between the quotes of a JSON string: at most `limit` bytes of `text`, with `…` where more was.
///
/// Quotes, backslashes, control characters (C0, DEL, C1), line separators and characters that turn the direction of
/// writing are escaped; what is no UTF-8 becomes U+FFFD. Cost: half a comparison a byte and one copy for plain text.
#[inline]
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8], limit: usize) {
    if text.len() <= limit && is_plain(text) {
        out.extend_from_slice(text);
    } else {
        push_escaped(out, text, limit);
    }
}

#[cold]
fn push_escaped(out: &mut Vec<u8>, text: &[u8], limit: usize) {
    let (text, cut) = match text.get(..limit) {
        Some(start) if text.len() > limit => (start, true),
        _ => (text, false),
    };
    let (plain, special) = text.split_at(plain_start(text));
    out.extend_from_slice(plain);
    push_special(out, special);
    if cut {
        out.extend_from_slice("…".as_bytes());
    }
}

fn push_special(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_character(out, character);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn push_character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' '..='~' => out.push(character as u8),
        _ if is_unsafe(character) => {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Characters that a terminal, editor or log viewer obeys. All are below U+10000: one escape of four digits.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}'
        )
}

/// The numbers below 1,000 in three digits.
const THREE_DIGITS: [[u8; 3]; 1_000] = {
    let mut table = [[0; 3]; 1_000];
    let mut number = 0;
    while number < 1_000 {
        table[number] =
            [b'0' + (number / 100) as u8, b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    table
};

/// Three digits, with leading zeros.
#[inline]
pub(super) fn thousandths(number: u64) -> [u8; 3] {
    THREE_DIGITS[(number % 1_000) as usize]
}

/// Decimal digits.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number < 1_000 {
        push_small(out, number);
    } else if number < 1_000_000 {
        push_small(out, number / 1_000);
        out.extend_from_slice(&thousandths(number));
    } else {
        push_number_of_many(out, number);
    }
}

#[cold]
fn push_number_of_many(out: &mut Vec<u8>, number: u64) {
    push_number(out, number / 1_000);
    out.extend_from_slice(&thousandths(number));
}

/// Digits of a number below 1,000, without leading zeros. Each length is a copy of known size.
#[inline]
fn push_small(out: &mut Vec<u8>, number: u64) {
    let [hundreds, tens, ones] = thousandths(number);
    match number {
        ..10 => out.push(ones),
        10..100 => out.extend_from_slice(&[tens, ones]),
        _ => out.extend_from_slice(&[hundreds, tens, ones]),
    }
}

/// Milliseconds with three decimals: `12.345`.
pub(super) fn push_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let seconds_us = duration.as_secs().checked_mul(1_000_000);
    let us =
        seconds_us.and_then(|us| us.checked_add(u64::from(duration.subsec_micros()))).unwrap_or(u64::MAX);
    push_number(out, us / 1_000);
    let [a, b, c] = thousandths(us);
    out.extend_from_slice(&[b'.', a, b, c]);
}

/// `10.0.0.1:80` or `[2001:db8::1]:80`. The common kind is written by hand: formatting costs ten times as much.
pub(super) fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            for (octet, end) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b':')] {
                push_small(out, u64::from(octet));
                out.push(end);
            }
            push_number(out, u64::from(address.port()));
        }
        SocketAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{push_address, push_milliseconds, push_number, push_text};
    use proptest::prelude::*;
    use std::time::Duration;

    fn text(bytes: &[u8], limit: usize) -> String {
        let mut out = Vec::new();
        push_text(&mut out, bytes, limit);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_text_is_copied() {
        assert_eq!(text("/cart/ü/😀".as_bytes(), 100), "/cart/ü/😀");
    }

    #[test]
    fn a_special_byte_is_found_at_every_place_of_every_length() {
        for length in 1..50 {
            for place in 0..length {
                for (byte, written) in [
                    (b'"', "\\\""),
                    (b'\\', "\\\\"),
                    (0x1f, "\\u001f"),
                    (0x7f, "\\u007f"),
                    (0x80, "\u{fffd}"),
                    (0xff, "\u{fffd}"),
                ] {
                    let mut bytes = vec![b'~'; length];
                    bytes[place] = byte;
                    let wanted = format!("{}{written}{}", "~".repeat(place), "~".repeat(length - 1 - place));
                    assert_eq!(text(&bytes, 100), wanted);
                }
            }
        }
    }

    #[test]
    fn every_printable_byte_but_two_is_plain() {
        for byte in 0..=u8::MAX {
            let is_plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for length in [1, 4, 8, 16, 17] {
                assert_eq!(super::is_plain(&vec![byte; length]), is_plain, "{length} of {byte:#x}");
            }
        }
    }

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        assert_eq!(text(b"a\r\nb\"c\\d\x1b[31m\x7f\0", 100), r#"a\r\nb\"c\\d\u001b[31m\u007f\u0000"#);
        assert_eq!(text("\u{85}\u{9b}\u{2028}\u{202e}".as_bytes(), 100), r"\u0085\u009b\u2028\u202e");
    }

    #[test]
    fn long_text_is_cut_even_within_a_character() {
        assert_eq!(text(b"abcdef", 6), "abcdef");
        assert_eq!(text(b"abcdefg", 6), "abcdef…");
        assert_eq!(text("aaaaaü".as_bytes(), 6), "aaaaa\u{fffd}…");
    }

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        let mut out = Vec::new();
        for number in [0, 9, 10, 12_345, u64::MAX] {
            out.clear();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn durations_have_three_decimals() {
        for (duration, expected) in [
            (Duration::ZERO, "0.000"),
            (Duration::from_micros(7), "0.007"),
            (Duration::from_micros(12_345_678), "12345.678"),
            (Duration::MAX, "18446744073709551.615"),
        ] {
            let mut out = Vec::new();
            push_milliseconds(&mut out, duration);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn addresses_are_written_as_rust_writes_them() {
        for address in ["0.0.0.0:0", "255.10.0.1:65535", "[::1]:8080", "[2001:db8::7]:1"] {
            let mut out = Vec::new();
            push_address(&mut out, address.parse().unwrap());
            assert_eq!(out, address.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_the_string_that_a_json_parser_reads_back(bytes: Vec<u8>) {
            let line = text(&bytes, usize::MAX);
            prop_assert!(!line.chars().any(char::is_control));
            let read: String = serde_json::from_str(&format!("\"{line}\"")).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}

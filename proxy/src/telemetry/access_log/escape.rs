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

/// Length of the start that can be copied as it is, rounded down to whole [`LANES`] if there is an end to it.
fn plain_start(text: &[u8]) -> usize {
    let (chunks, rest) = text.as_chunks::<LANES>();
    let plain =
        chunks.iter().take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | is_special(*byte)));
    match plain.count() * LANES {
        all if all + rest.len() == text.len() && !rest.iter().any(|byte| is_special(*byte)) => text.len(),
        some => some,
    }
}

/// Writes what stands between the quotes of a JSON string: at most `limit` bytes of `text`, with `…` where more was.
///
/// Quotes, backslashes, control characters (C0, DEL, C1), line separators and characters that turn the direction of
/// writing are escaped; what is no UTF-8 becomes U+FFFD. Cost: half a comparison a byte and one copy for plain text.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8], limit: usize) {
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

/// Decimal digits.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Milliseconds with three decimals: `12.345`.
pub(super) fn push_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    push_number(out, us / 1_000);
    let rest = us % 1_000;
    let digit = |number: u64| b'0' + (number % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

/// `10.0.0.1:80` or `[2001:db8::1]:80`. The common kind is written by hand: formatting costs ten times as much.
pub(super) fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (position, octet) in address.ip().octets().into_iter().enumerate() {
                if position > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
            out.push(b':');
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
    fn a_special_byte_is_found_at_every_place() {
        for place in 0..40 {
            for (byte, written) in
                [(b'"', "\\\""), (b'\\', "\\\\"), (0x1f, "\\u001f"), (0x7f, "\\u007f"), (0x80, "\u{fffd}")]
            {
                let mut bytes = [b'~'; 40];
                bytes[place] = byte;
                let wanted = format!("{}{written}{}", "~".repeat(place), "~".repeat(39 - place));
                assert_eq!(text(&bytes, 100), wanted);
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

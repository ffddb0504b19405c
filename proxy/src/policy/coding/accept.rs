//! What a client accepts: `Accept-Encoding` (RFC 9110 §12.5.3).

use sluice_ir::Coding;

/// The largest weight: weights are thousandths.
const ONE: u16 = 1_000;

/// The position of the coding that the client likes best, among equals the first that is offered. `None`: what it gets is
/// not to be coded. A client that says nothing gets nothing coded, though it would have to take anything. Allocates nothing.
pub(crate) fn preferred<'a>(
    fields: impl Iterator<Item = &'a [u8]>,
    offered: impl Iterator<Item = Coding>,
) -> Option<usize> {
    let weights = Weights::read(fields);
    let mut best: Option<(usize, u16)> = None;
    for (index, coding) in offered.enumerate() {
        let weight = weights.of(coding);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((index, weight));
        }
    }
    best.filter(|(_, weight)| weights.identity.is_none_or(|identity| identity <= *weight))
        .map(|(index, _)| index)
}

/// What the field says; `None`: nothing.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn read<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut weights = Self::default();
        for item in fields.flat_map(|field| field.split(|byte| *byte == b',')) {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            // What is no weight is no wish either.
            let Some(weight) = parts.try_fold(ONE, |weight, part| parameter(part, weight)) else { continue };
            let place = match name {
                _ if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                    &mut weights.gzip
                }
                _ if name.eq_ignore_ascii_case(b"br") => &mut weights.brotli,
                _ if name.eq_ignore_ascii_case(b"zstd") => &mut weights.zstd,
                _ if name.eq_ignore_ascii_case(b"identity") => &mut weights.identity,
                b"*" => &mut weights.any,
                _ => continue,
            };
            *place = Some(weight);
        }
        weights
    }

    fn of(&self, coding: Coding) -> u16 {
        let own = match coding {
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
        };
        own.or(self.any).unwrap_or(0)
    }
}

/// The weight after one more parameter; `None`: it is malformed.
fn parameter(part: &[u8], weight: u16) -> Option<u16> {
    match part {
        [] => Some(weight),
        [b'q' | b'Q', b'=', value @ ..] => quality(value),
        // Codings have no other parameters; what is unknown is passed over.
        _ => Some(weight),
    }
}

/// `0`, `0.5`, `1.000`: at most three digits (RFC 9110 §12.4.2).
fn quality(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    let weight = u16::from(whole - b'0') * ONE + thousandths;
    (weight <= ONE).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::preferred;
    use sluice_ir::Coding::{self, Brotli, Gzip, Zstd};

    fn of(field: &str) -> Option<Coding> {
        let offered = [Zstd, Brotli, Gzip];
        let fields = field.split('|').map(str::as_bytes);
        preferred(fields, offered.into_iter()).map(|index| offered[index])
    }

    #[test]
    fn the_clients_weights_come_first_and_then_our_order() {
        for (field, expected) in [
            ("gzip", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, br", Some(Brotli)),
            ("x-gzip", Some(Gzip)),
            ("GZIP;Q=0.5", Some(Gzip)),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", Some(Gzip)),
            ("gzip;q=0.5|br;q=0.6", Some(Brotli)),
            ("*", Some(Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Brotli)),
            ("br;q=0.001 , identity;q=0", Some(Brotli)),
            ("gzip;q=0.5, identity;q=0.6", None),
            ("gzip;q=0.6, identity;q=0.6", Some(Gzip)),
            ("gzip, identity", Some(Gzip)),
        ] {
            assert_eq!(of(field), expected, "{field}");
        }
    }

    #[test]
    fn what_says_nothing_of_ours_gets_nothing_coded() {
        for field in [
            "",
            ",, ,",
            "deflate",
            "identity",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "identity;q=0",
            "gzip;q=2",
            "gzip;q=0.5000",
            "gzip;q=",
            "gzip;q=1.1",
            "gzip;q=0.x",
            "gzip;q=-1",
            "gz ip",
            "gzipx",
        ] {
            assert_eq!(of(field), None, "{field}");
        }
    }
}

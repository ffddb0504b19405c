#![allow(clippy::unwrap_used)]
use super::{Bounds, Decoder, Undecodable};
use crate::policy::coding::{Encoder, Flush};
use proptest::prelude::*;
use sluice_ir::{Coding, CodingLevel};

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

fn coded(coding: Coding, body: &[u8]) -> Vec<u8> {
    Encoder::new(CodingLevel { coding, level: 4 }).unwrap().encode(body, Flush::End).unwrap().to_vec()
}

fn within(coding: Coding, most_bytes: u64, most_ratio: u32) -> Decoder {
    Decoder::new(coding, Bounds { most_bytes, most_ratio }).unwrap()
}

fn whole(coding: Coding, body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    within(coding, 1 << 30, 10_000).decode(body, true).map(|it| it.to_vec())
}

/// Pieces of one byte, as a slow client sends them.
fn byte_by_byte(coding: Coding, body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = within(coding, 1 << 30, 10_000);
    let mut out = Vec::new();
    for byte in body {
        out.extend_from_slice(&decoder.decode(&[*byte], false)?);
    }
    out.extend_from_slice(&decoder.decode(&[], true)?);
    Ok(out)
}

#[test]
fn a_body_is_the_same_in_whatever_pieces_it_comes() {
    let text = b"a body of some bytes, some bytes, some bytes".repeat(50);
    for coding in CODINGS {
        let body = coded(coding, &text);
        assert_eq!(whole(coding, &body).as_deref(), Ok(&text[..]), "{coding:?}");
        assert_eq!(byte_by_byte(coding, &body).as_deref(), Ok(&text[..]), "{coding:?}");
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused() {
    for coding in CODINGS {
        let body = coded(coding, b"hello, hello, hello");
        for cut in 1..body.len() {
            assert_eq!(whole(coding, &body[..cut]), Err(Undecodable::Broken), "{coding:?} cut at {cut}");
            assert_eq!(
                byte_by_byte(coding, &body[..cut]),
                Err(Undecodable::Broken),
                "{coding:?} cut at {cut}"
            );
        }
        let longer = [&body[..], b"garbage"].concat();
        assert_eq!(whole(coding, &longer), Err(Undecodable::Broken), "{coding:?}");
        assert_eq!(byte_by_byte(coding, &longer), Err(Undecodable::Broken), "{coding:?}");
        assert_eq!(whole(coding, b"this is none of it"), Err(Undecodable::Broken), "{coding:?}");
    }
}

#[test]
fn no_bytes_are_an_empty_body() {
    for coding in CODINGS {
        assert_eq!(whole(coding, b"").as_deref(), Ok(&b""[..]));
    }
}

#[test]
fn members_and_frames_add_up_where_the_coding_has_them() {
    for coding in CODINGS {
        let body = [coded(coding, b"one "), coded(coding, b"two")].concat();
        let expected = match coding {
            Coding::Brotli => Err(Undecodable::Broken),
            Coding::Gzip | Coding::Zstd => Ok(b"one two".to_vec()),
        };
        assert_eq!(whole(coding, &body), expected, "{coding:?}");
        assert_eq!(byte_by_byte(coding, &body), expected, "{coding:?}");
    }
}

#[test]
fn the_length_is_bounded_to_the_byte() {
    let text = vec![b'x'; 100_000];
    for coding in CODINGS {
        let body = coded(coding, &text);
        let of = |most| within(coding, most, u32::MAX).decode(&body, true).map(|it| it.len());
        assert_eq!(of(100_000), Ok(100_000), "{coding:?}");
        assert_eq!(of(99_999), Err(Undecodable::TooLarge), "{coding:?}");
        assert_eq!(of(0), Err(Undecodable::TooLarge), "{coding:?}");
    }
}

/// The first 64 KiB are free, what is beyond is bounded by what went in.
#[test]
fn a_bomb_is_seen_while_it_unfolds() {
    for coding in CODINGS {
        let bomb = coded(coding, &vec![0; 16 << 20]);
        assert!(bomb.len() < 40_000, "{coding:?}: {}", bomb.len());
        let mut decoder = within(coding, u64::MAX, 100);
        let got =
            bomb.chunks(512).try_fold(0, |sum, piece| decoder.decode(piece, false).map(|it| sum + it.len()));
        assert_eq!(got, Err(Undecodable::TooLarge), "{coding:?}");
        assert!(decoder.written <= 100 * decoder.read.max(656) + 1, "{coding:?}: {}", decoder.written);
        let small = coded(coding, &vec![0; 64 << 10]);
        assert!(within(coding, u64::MAX, 1).decode(&small, true).is_ok(), "{coding:?}");
        let larger = coded(coding, &vec![0; (64 << 10) + 1]);
        assert_eq!(
            within(coding, u64::MAX, 1).decode(&larger, true),
            Err(Undecodable::TooLarge),
            "{coding:?}"
        );
    }
}

/// A window of 2^30, which Brotli knows outside of HTTP ("large window").
#[test]
fn windows_beyond_those_of_http_are_refused() {
    assert_eq!(whole(Coding::Brotli, &[0x11, 0x1e, 0x03]), Err(Undecodable::Broken));
    // Zstd: a frame that is to keep 128 MiB.
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    assert_eq!(whole(Coding::Zstd, &frame), Err(Undecodable::Broken));
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(whole(Coding::Zstd, &frame).as_deref(), Ok(&b""[..]));
}

#[test]
fn frames_that_http_does_not_know_are_refused() {
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0];
    let of_version_0_7 = [0x27, 0xB5, 0x2F, 0xFD, 0, 0, 0, 0];
    for frame in [skippable, of_version_0_7] {
        assert_eq!(whole(Coding::Zstd, &frame), Err(Undecodable::Broken), "{frame:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes ends in an answer, and within the bounds.
    #[test]
    fn no_bytes_are_too_strange(
        coding in 0..3_usize,
        text in proptest::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        size in 1..50_usize,
    ) {
        let coding = CODINGS[coding];
        let mut body = coded(coding, &text);
        let at = place.index(body.len());
        body[at] = byte;
        let mut decoder = within(coding, 1_000, 100);
        let mut got = 0;
        for piece in body.chunks(size) {
            match decoder.decode(piece, false) {
                Ok(out) => got += out.len(),
                Err(_) => break,
            }
        }
        prop_assert!(got <= 1_000);
    }
}

//! A body into a coding, piece by piece, with a bound on what it keeps.
//!
//! Windows are kept small: a compressor takes a third of a megabyte (Gzip) to about one and a half (Brotli, Zstd) at the
//! usual levels, at the highest up to four and a half, whatever the length of the body.

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::write::GzEncoder;
use sluice_ir::{Coding, CodingLevel};
use std::io::{self, Write as _};

/// How far back Brotli and Zstd look, as a power of two: 256 KiB.
const WINDOW_LOG: u32 = 18;
/// Room that is made at once for what comes out.
const ROOM: usize = 16 * 1_024;
/// Brotli's own buffer.
const BROTLI_BUFFER: usize = 4_096;

/// What is to come out with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// What the coder likes to give.
    No,
    /// Everything that went in, so that the client has it now.
    Now,
    /// Everything, and the end.
    End,
}

/// Codes one body.
pub(crate) struct Encoder(Coder);

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Ended,
}

impl Encoder {
    /// # Errors
    /// When memory can't be had.
    pub(crate) fn new(wanted: CodingLevel) -> io::Result<Self> {
        let level = u32::from(wanted.level);
        Ok(Self(match wanted.coding {
            Coding::Gzip => Coder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level))),
            Coding::Brotli => {
                Coder::Brotli(Box::new(CompressorWriter::new(Vec::new(), BROTLI_BUFFER, level, WINDOW_LOG)))
            }
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), i32::from(wanted.level))?;
                encoder.window_log(WINDOW_LOG)?;
                Coder::Zstd(encoder)
            }
        }))
    }

    /// What comes out for a piece that goes in; nothing more after the end.
    ///
    /// # Errors
    /// When the coder fails, which it does for no input.
    pub(crate) fn encode(&mut self, piece: &[u8], flush: Flush) -> io::Result<Bytes> {
        let room = ROOM.min(piece.len());
        let out = match &mut self.0 {
            Coder::Gzip(coder) => {
                coder.get_mut().reserve(room);
                coder.write_all(piece)?;
                match flush {
                    Flush::No => {}
                    Flush::Now => coder.flush()?,
                    Flush::End => coder.try_finish()?,
                }
                std::mem::take(coder.get_mut())
            }
            Coder::Brotli(coder) => {
                coder.get_mut().reserve(room);
                coder.write_all(piece)?;
                if flush == Flush::Now {
                    coder.flush()?;
                }
                std::mem::take(coder.get_mut())
            }
            Coder::Zstd(coder) => {
                coder.get_mut().reserve(room);
                coder.write_all(piece)?;
                match flush {
                    Flush::No => {}
                    Flush::Now => coder.flush()?,
                    Flush::End => coder.do_finish()?,
                }
                std::mem::take(coder.get_mut())
            }
            Coder::Ended => Vec::new(),
        };
        if flush != Flush::End {
            return Ok(out.into());
        }
        match std::mem::replace(&mut self.0, Coder::Ended) {
            // The end comes only with the coder's own.
            Coder::Brotli(mut coder) => {
                *coder.get_mut() = out;
                Ok(coder.into_inner().into())
            }
            Coder::Gzip(_) | Coder::Zstd(_) | Coder::Ended => Ok(out.into()),
        }
    }

    /// Whether the end came out.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.0, Coder::Ended)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Encoder, Flush};
    use crate::policy::coding::{Bounds, Decoder};
    use sluice_ir::{Coding, CodingLevel};

    const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    fn encoder(coding: Coding) -> Encoder {
        Encoder::new(CodingLevel { coding, level: 4 }).unwrap()
    }

    fn decoder(coding: Coding) -> Decoder {
        Decoder::new(coding, Bounds { most_bytes: u64::MAX, most_ratio: u32::MAX }).unwrap()
    }

    #[test]
    fn what_goes_in_comes_out_of_the_decoder() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|it| (it % 997).to_string().into_bytes()).collect();
        for coding in CODINGS {
            let (mut encoder, mut decoder) = (encoder(coding), decoder(coding));
            let (mut sent, mut got) = (0, Vec::new());
            for piece in text.chunks(7_777) {
                let out = encoder.encode(piece, Flush::No).unwrap();
                sent += out.len();
                got.extend_from_slice(&decoder.decode(&out, false).unwrap());
            }
            let end = encoder.encode(b"", Flush::End).unwrap();
            assert!(encoder.is_over());
            sent += end.len();
            got.extend_from_slice(&decoder.decode(&end, true).unwrap());
            assert!(got == text, "{coding:?}");
            assert!(sent * 3 < text.len(), "{coding:?}: {sent} of {}", text.len());
            assert!(
                encoder.encode(b"more", Flush::Now).unwrap().is_empty(),
                "{coding:?} goes on after its end"
            );
        }
    }

    #[test]
    fn a_flushed_piece_can_be_read_at_once() {
        for coding in CODINGS {
            let (mut encoder, mut decoder) = (encoder(coding), decoder(coding));
            for number in 0..5 {
                let event = format!("data: {number}\n\n");
                let out = encoder.encode(event.as_bytes(), Flush::Now).unwrap();
                assert_eq!(&decoder.decode(&out, false).unwrap()[..], event.as_bytes(), "{coding:?}");
            }
        }
    }

    #[test]
    fn an_empty_body_is_a_body() {
        for coding in CODINGS {
            let out = encoder(coding).encode(b"", Flush::End).unwrap();
            assert!(!out.is_empty(), "{coding:?}");
            assert!(decoder(coding).decode(&out, true).unwrap().is_empty());
        }
    }
}

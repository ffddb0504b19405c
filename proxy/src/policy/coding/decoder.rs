//! A body out of a coding, piece by piece. What comes out is bounded while it comes out: by its length, and by how much
//! becomes of what went in. Whatever does not belong to the coded body, before its end or after it, is refused.

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use sluice_ir::Coding;
use std::io;
use zstd::stream::raw::{self, Operation as _};
use zstd::zstd_safe::{DParameter, InBuffer, OutBuffer};

/// Room that is made at a time.
const ROOM: usize = 16 * 1_024;
/// The ratio counts beyond so many bytes: what is small may be as regular as it likes.
const FREE: u64 = 64 * 1_024;
/// The largest window of Zstd: 8 MiB (RFC 9659 §3).
const ZSTD_WINDOW_LOG: u32 = 23;
/// How each frame of Zstd begins (RFC 8878 §3.1.1). Older forms, which the library may know, are none of HTTP's.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// Most that may come out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes in all.
    pub(crate) most_bytes: u64,
    /// Bytes for each byte that went in, beyond the first 64 KiB.
    pub(crate) most_ratio: u32,
}

/// Why a body can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// It is not in the coding, ends too early, or goes on after its end.
    Broken,
    /// More comes out than may.
    TooLarge,
}

/// Decodes one body.
pub(crate) struct Decoder {
    coder: Coder,
    bounds: Bounds,
    read: u64,
    written: u64,
    /// Whether what came so far can be the whole of it.
    may_end: bool,
}

enum Coder {
    Gzip(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// With how much of a frame's first bytes was there.
    Zstd(raw::Decoder<'static>, usize),
}

/// What one step of a coder did.
struct Step {
    read: usize,
    wrote: usize,
    /// The body, or a part of it that may be the last, is complete.
    ended: bool,
}

impl Decoder {
    /// # Errors
    /// When memory can't be had.
    pub(crate) fn new(coding: Coding, bounds: Bounds) -> io::Result<Self> {
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(Decompress::new_gzip(15)),
            Coding::Brotli => Coder::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Zstd => {
                let mut decoder = raw::Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                Coder::Zstd(decoder, 0)
            }
        };
        Ok(Self { coder, bounds, read: 0, written: 0, may_end: false })
    }

    /// What comes out for a piece that goes in. No bytes at all are an empty body. After an error nothing more is to be
    /// asked.
    ///
    /// # Errors
    /// When the piece, or with `is_last` the whole, is not as it must be.
    pub(crate) fn decode(&mut self, mut piece: &[u8], is_last: bool) -> Result<Bytes, Undecodable> {
        let mut out = Vec::new();
        let mut buffer = [0; ROOM];
        self.read += piece.len() as u64;
        let mut holds_back = false;
        while holds_back || !piece.is_empty() {
            if self.may_end {
                self.coder.begin_again()?;
            }
            // One byte more than may come, so that too much is seen.
            let left = self.most().saturating_sub(self.written).saturating_add(1);
            let room = usize::try_from(left).unwrap_or(ROOM).min(ROOM);
            let step = self.coder.step(piece, buffer.get_mut(..room).unwrap_or_default())?;
            self.written += step.wrote as u64;
            if self.written > self.most() {
                return Err(Undecodable::TooLarge);
            }
            if step.read == 0 && step.wrote == 0 && !step.ended && !piece.is_empty() {
                return Err(Undecodable::Broken);
            }
            out.extend_from_slice(buffer.get(..step.wrote).unwrap_or_default());
            piece = piece.get(step.read..).unwrap_or_default();
            self.may_end = step.ended;
            holds_back = step.wrote > 0 && !step.ended;
        }
        if is_last && !self.may_end && self.read > 0 {
            return Err(Undecodable::Broken);
        }
        Ok(out.into())
    }

    /// Bytes that may have come out by now.
    fn most(&self) -> u64 {
        let by_ratio = self.read.saturating_mul(u64::from(self.bounds.most_ratio));
        self.bounds.most_bytes.min(by_ratio.max(FREE))
    }
}

impl Coder {
    fn step(&mut self, piece: &[u8], out: &mut [u8]) -> Result<Step, Undecodable> {
        match self {
            Self::Gzip(coder) => {
                let (read, wrote) = (coder.total_in(), coder.total_out());
                let status = coder.decompress(piece, out, FlushDecompress::None);
                let status = status.map_err(|_| Undecodable::Broken)?;
                Ok(Step {
                    read: usize::try_from(coder.total_in() - read).unwrap_or(usize::MAX),
                    wrote: usize::try_from(coder.total_out() - wrote).unwrap_or(usize::MAX),
                    ended: status == Status::StreamEnd,
                })
            }
            Self::Brotli(state) => {
                let (mut left, mut room) = (piece.len(), out.len());
                let (mut read, mut wrote, mut total) = (0, 0, 0);
                let result = BrotliDecompressStream(
                    &mut left, &mut read, piece, &mut room, &mut wrote, out, &mut total, state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(Undecodable::Broken),
                    BrotliResult::ResultSuccess => Ok(Step { read, wrote, ended: true }),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                        Ok(Step { read, wrote, ended: false })
                    }
                }
            }
            Self::Zstd(coder, begun) => {
                for byte in piece {
                    let Some(expected) = ZSTD_MAGIC.get(*begun) else { break };
                    if byte != expected {
                        return Err(Undecodable::Broken);
                    }
                    *begun += 1;
                }
                let (mut input, mut output) = (InBuffer::around(piece), OutBuffer::around(out));
                let hint = coder.run(&mut input, &mut output).map_err(|_| Undecodable::Broken)?;
                Ok(Step { read: input.pos(), wrote: output.pos(), ended: hint == 0 })
            }
        }
    }

    /// Several members of Gzip (RFC 1952 §2.2) or frames of Zstd (RFC 8878 §3) are one body; Brotli has nothing like it.
    fn begin_again(&mut self) -> Result<(), Undecodable> {
        match self {
            Self::Gzip(coder) => {
                coder.reset(true);
                Ok(())
            }
            Self::Brotli(_) => Err(Undecodable::Broken),
            Self::Zstd(_, begun) => {
                *begun = 0;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;

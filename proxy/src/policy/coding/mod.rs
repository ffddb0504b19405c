//! Content codings: which one a client likes best, and bodies into and out of them, piece by piece.

mod accept;
mod decoder;
mod encoder;

pub(crate) use accept::preferred;
pub(crate) use decoder::{Bounds, Decoder, Undecodable};
pub(crate) use encoder::{Encoder, Flush};

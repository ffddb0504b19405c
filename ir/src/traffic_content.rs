//! Content codings of bodies (RFC 9110 §8.4): answers that are compressed, request bodies that are unpacked.

use serde::{Deserialize, Serialize};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// A coding, and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodingLevel {
    /// The coding.
    pub coding: Coding,
    /// Gzip 1 to 9, Brotli 1 to 6, Zstd 1 to 12.
    pub level: u8,
}

/// How answers are compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compression {
    /// Preferred first, each coding once; none: nothing is compressed.
    pub codings: Vec<CodingLevel>,
    /// Media types in lower case: `application/json`, or `text/*`.
    pub types: Vec<String>,
    /// Answers that are known to be shorter stay as they are.
    pub least_bytes: u64,
    /// Path prefixes by whole elements below which nothing is compressed; without a slash at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exempt_paths: Vec<String>,
    /// Answers at one time; further ones stay as they are.
    pub most_at_once: u32,
}

/// How request bodies are unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decompression {
    /// Each once; none: nothing is unpacked.
    pub codings: Vec<Coding>,
    /// Most bytes of an unpacked body; 413 above.
    pub most_bytes: u64,
    /// Most bytes that one byte may become, beyond the first 64 KiB; 413 above.
    pub most_ratio: u32,
    /// Whether bodies in other codings get 415; else they are forwarded.
    pub refuses_others: bool,
    /// Bodies at one time; further requests get 503.
    pub most_at_once: u32,
}

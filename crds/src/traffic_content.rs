//! `compression` and `decompression` of a TrafficPolicy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How answers are compressed on their way to the client.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompressionSpec {
    /// `true`, alone: what less specific policies say of this does not hold here. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Codings in the order in which they are preferred, where the client likes several equally. Default: Zstd, Brotli,
    /// Gzip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub algorithms: Option<Vec<CompressionAlgorithmSpec>>,
    /// Media types that are compressed: `application/json`, or a whole type: `text/*`. Default: text, JSON, XML, JavaScript,
    /// SVG, WebAssembly and a few more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 3, max = 127)))]
    pub types: Option<Vec<String>>,
    /// Answers whose length is known to be less stay as they are. Default: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub min_bytes: Option<i64>,
    /// Paths below which nothing is compressed, by whole elements: answers that hold a secret beside something that the
    /// client chose (BREACH). Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1_024)))]
    pub exempt_paths: Vec<String>,
    /// Answers that are compressed at one time; further ones go as they are. Default: 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_concurrent: Option<i64>,
}

/// A coding, and how hard it tries.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompressionAlgorithmSpec {
    /// The coding.
    #[serde(rename = "type")]
    pub r#type: CodingSpec,
    /// How hard it tries: Gzip 1 to 9, Brotli 1 to 6, Zstd 1 to 12. Default: Gzip 5, Brotli 4, Zstd 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 12))]
    pub level: Option<i64>,
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodingSpec {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// How request bodies that are compressed are unpacked before the backend sees them.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecompressionSpec {
    /// `true`, alone: what less specific policies say of this does not hold here. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Codings that are unpacked. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    pub algorithms: Option<Vec<CodingSpec>>,
    /// Most bytes of an unpacked body; 413 above. Default: 10485760 (10 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_099_511_627_776_i64))]
    pub max_bytes: Option<i64>,
    /// Most bytes that one byte may become; 413 above. Holds for what is beyond the first 64 KiB. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_ratio: Option<i64>,
    /// What becomes of bodies in other codings. Default: Forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_encodings: Option<OtherEncodings>,
    /// Bodies that are unpacked at one time; further requests get 503. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_concurrent: Option<i64>,
}

/// What becomes of bodies in codings that are not unpacked.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtherEncodings {
    /// The backend gets them as they are.
    Forward,
    /// The client gets 415 with the codings that it may use.
    Refuse,
}

//! Answers that are kept for those who ask again.

use crate::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is kept, as far as answers allow it themselves (RFC 9111).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes that are kept by each data plane, with those that are being received; 0: nothing is kept.
    pub most_bytes: u64,
    /// Bytes of one answer; larger ones are not kept.
    pub most_object_bytes: u64,
    /// How long a 200 is fresh that says nothing about it; `None`: it is not kept.
    #[serde(default, with = "duration::option_ms", skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<Duration>,
    /// Whether answers tell how the cache took part (`Cache-Status`, RFC 9211).
    pub tells: bool,
}

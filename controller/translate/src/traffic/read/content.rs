//! `compression` and `decompression`.

use crate::values::Values;
use sluice_crds::{CodingSpec, CompressionSpec, DecompressionSpec, OtherEncodings};
use sluice_ir::{Coding, CodingLevel, Compression, Decompression};

/// Preferred first: Zstd costs least for what it saves.
const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
/// What compresses well and is common in answers.
const DEFAULT_TYPES: [&str; 15] = [
    "text/*",
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/manifest+json",
    "application/geo+json",
    "application/javascript",
    "application/ecmascript",
    "application/xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/xhtml+xml",
    "application/graphql-response+json",
    "application/wasm",
    "image/svg+xml",
];
/// Below it, header fields weigh more than what is saved.
const DEFAULT_LEAST_BYTES: u64 = 1_024;
const DEFAULT_COMPRESSED_AT_ONCE: u32 = 512;
const DEFAULT_UNPACKED_AT_ONCE: u32 = 256;
const DEFAULT_MOST_BYTES: u64 = 10 * 1_024 * 1_024;
const DEFAULT_MOST_RATIO: u32 = 100;
/// Most entries of `types` and of `exemptPaths`.
const MOST_ENTRIES: usize = 64;

/// Reads `compression`.
pub(super) fn compression(spec: &CompressionSpec, values: &mut Values) -> Compression {
    if spec.disabled == Some(true) {
        let alone = *spec == CompressionSpec { disabled: Some(true), ..CompressionSpec::default() };
        values.alone("compression.disabled", alone);
        return Compression {
            codings: Vec::new(),
            types: Vec::new(),
            least_bytes: 0,
            exempt_paths: Vec::new(),
            most_at_once: 0,
        };
    }
    let codings = match &spec.algorithms {
        None => ALL.iter().map(|it| CodingLevel { coding: *it, level: default_level(*it) }).collect(),
        Some(list) => {
            let all: Vec<_> = list.iter().map(|it| coding(it.r#type)).collect();
            each_once("compression.algorithms", &all, values);
            let level =
                |(index, (it, coding)): (usize, (&sluice_crds::CompressionAlgorithmSpec, &Coding))| {
                    let place = format!("compression.algorithms[{index}].level");
                    let most = highest_level(*coding);
                    let level = values.number(&place, it.level, (1, most));
                    CodingLevel { coding: *coding, level: level.unwrap_or_else(|| default_level(*coding)) }
                };
            list.iter().zip(&all).enumerate().map(level).collect()
        }
    };
    let types = match &spec.types {
        None => DEFAULT_TYPES.iter().map(|it| (*it).to_owned()).collect(),
        Some(list) => {
            few("compression.types", list.len(), values);
            if list.is_empty() {
                values.fault("compression.types", "is empty", "name a media type, or remove the list");
            }
            list.iter().enumerate().map(|(index, text)| media_type(index, text, values)).collect()
        }
    };
    few("compression.exemptPaths", spec.exempt_paths.len(), values);
    let path = |(index, text): (usize, &String)| {
        if !text.starts_with('/') || text.contains(['?', '#']) {
            let place = format!("compression.exemptPaths[{index}]");
            values.fault(place, format!("{text:?} is no path"), "write it as /account");
        }
        text.trim_end_matches('/').to_owned()
    };
    let exempt_paths = spec.exempt_paths.iter().enumerate().map(path).collect();
    Compression {
        codings,
        types,
        least_bytes: values
            .number("compression.minBytes", spec.min_bytes, (0, 1_073_741_824))
            .unwrap_or(DEFAULT_LEAST_BYTES),
        exempt_paths,
        most_at_once: values
            .number("compression.maxConcurrent", spec.max_concurrent, (1, 65_536))
            .unwrap_or(DEFAULT_COMPRESSED_AT_ONCE),
    }
}

/// Reads `decompression`.
pub(super) fn decompression(spec: &DecompressionSpec, values: &mut Values) -> Decompression {
    if spec.disabled == Some(true) {
        let alone = *spec == DecompressionSpec { disabled: Some(true), ..DecompressionSpec::default() };
        values.alone("decompression.disabled", alone);
        return Decompression {
            codings: Vec::new(),
            most_bytes: 0,
            most_ratio: 0,
            refuses_others: false,
            most_at_once: 0,
        };
    }
    let codings = match &spec.algorithms {
        None => ALL.to_vec(),
        Some(list) => list.iter().map(|it| coding(*it)).collect(),
    };
    each_once("decompression.algorithms", &codings, values);
    Decompression {
        codings,
        most_bytes: values
            .number("decompression.maxBytes", spec.max_bytes, (1, 1_099_511_627_776))
            .unwrap_or(DEFAULT_MOST_BYTES),
        most_ratio: values
            .number("decompression.maxRatio", spec.max_ratio, (1, 10_000))
            .unwrap_or(DEFAULT_MOST_RATIO),
        refuses_others: spec.other_encodings == Some(OtherEncodings::Refuse),
        most_at_once: values
            .number("decompression.maxConcurrent", spec.max_concurrent, (1, 65_536))
            .unwrap_or(DEFAULT_UNPACKED_AT_ONCE),
    }
}

fn coding(spec: CodingSpec) -> Coding {
    match spec {
        CodingSpec::Gzip => Coding::Gzip,
        CodingSpec::Brotli => Coding::Brotli,
        CodingSpec::Zstd => Coding::Zstd,
    }
}

/// What costs little for most of what can be saved.
fn default_level(coding: Coding) -> u8 {
    match coding {
        Coding::Gzip => 5,
        Coding::Brotli => 4,
        Coding::Zstd => 3,
    }
}

/// What a body may cost: Brotli takes 8 MiB and more above it, the others too much time.
fn highest_level(coding: Coding) -> i64 {
    match coding {
        Coding::Gzip => 9,
        Coding::Brotli => 6,
        Coding::Zstd => 12,
    }
}

fn each_once(field: &str, list: &[Coding], values: &mut Values) {
    if list.is_empty() {
        values.fault(field, "is empty", "name Gzip, Brotli or Zstd, or remove the list");
    }
    for (index, it) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier == it) {
            values.fault(format!("{field}[{index}]"), format!("names {it:?} again"), "remove it");
        }
    }
}

fn few(field: &str, len: usize, values: &mut Values) {
    if len > MOST_ENTRIES {
        values.fault(field, format!("has {len} entries"), "use at most 64");
    }
}

/// `TYPE/SUBTYPE` or `TYPE/*` in lower case (RFC 9110 §8.3.1).
fn media_type(index: usize, text: &str, values: &mut Values) -> String {
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&it))
    };
    let place = || format!("compression.types[{index}]");
    let lower = text.to_ascii_lowercase();
    match lower.split_once('/') {
        Some((kind, name)) if is_name(kind) && (name == "*" || is_name(name)) => {
            if lower.starts_with("application/grpc") && !lower.starts_with("application/grpc-web") {
                values.fault(place(), "gRPC compresses its messages itself", "remove it");
            }
        }
        _ => values.fault(
            place(),
            format!("{text:?} is no media type"),
            "write it as application/json or text/*, without parameters",
        ),
    }
    lower
}

//! What data planes of a mesh tell: metrics, spans, access log. Whole proxies, configured with plain IR.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod collector;
mod kiali;
mod mesh;
mod metrics;
mod tracing;

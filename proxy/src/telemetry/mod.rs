//! What an operator sees: outcomes, metrics (also those of a mesh), the access log, spans, which
//! calls there are.

pub mod access_log;
mod flags;
pub mod mesh;
pub mod metrics;
mod outcome;
pub mod seen;
mod stripe;
pub mod trace;

pub use access_log::{AccessLogger, AccessRecord};
pub use metrics::{AuthCounts, CacheResult, DryRunCounts, Metrics, PortMetrics, RouteMetrics, StreamMetrics};
pub use outcome::Outcome;

pub(crate) use metrics::JwtVerdict;

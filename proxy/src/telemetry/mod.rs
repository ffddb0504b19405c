//! What an operator sees: outcomes, metrics, the access log.

pub mod access_log;
pub mod metrics;
mod outcome;
mod stripe;

pub use access_log::{AccessLogger, AccessRecord};
pub use metrics::{AuthCounts, CacheResult, Metrics, PortMetrics, RouteMetrics, StreamMetrics};
pub use outcome::Outcome;

//! Names for the workload: what the mesh alone knows is answered here, everything else is asked of the servers that the
//! pod would have asked.
//!
//! In: questions of DNS that the kernel turned to port 15053 of loopback, and the [names](sluice_proxy::Proxy::names) that
//! the workload knows, which may change at any time. What is answered how is pure (`names`,
//! `answer`); `forward` asks the servers, `serve` holds the sockets. It listens on loopback alone, so that it is
//! nobody else's resolver, and it keeps no cache: the workload and the servers do.

mod answer;
mod forward;
mod message;
mod names;
mod serve;

pub use serve::{DnsOptions, DnsProxy};

use arc_swap::ArcSwapOption;
use sluice_proxy::mesh::Names;
use std::sync::Arc;

/// The names that are answered, which may be exchanged at any time; empty: all questions are handed on.
pub type Table = Arc<ArcSwapOption<Names>>;

#[cfg(test)]
mod tests;

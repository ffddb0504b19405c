//! What every process of ours does alike, whatever it serves: diagnostics, signals, durations on the command line.

pub mod duration;
mod logging;
mod signal;

pub use logging::init_tracing;
pub use signal::Termination;

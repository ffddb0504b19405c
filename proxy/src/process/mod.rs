//! What every process of ours does alike, whatever it serves: diagnostics, signals, durations on the command line.

mod addresses;
pub mod duration;
mod logging;
mod signal;

pub use addresses::all_addresses;
pub use logging::{LogFormat, init_tracing};
pub use signal::Termination;

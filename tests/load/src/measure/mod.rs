//! What the machine says about a process: CPU time, memory, and who else used its core.

pub(crate) mod cores;
pub(crate) mod process;

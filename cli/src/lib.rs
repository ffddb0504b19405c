//! The `sluice` command: what people type.
//!
//! One module per command: [`run`], [`check`], [`explain`], [`certificates`], [`echo`], and for a cluster [`install`] (with uninstall),
//! [`profile`], [`status`], [`suggest`], [`egress`] and [`inject`]. The binary only reads the command line and calls
//! them. The library exists so that tests can run an echo, read a folder or explain a request in their own process.

pub mod certificates;
pub mod check;
pub mod cluster;
pub mod echo;
pub mod egress;
pub mod explain;
pub mod finding;
pub mod folder;
pub mod inject;
pub mod install;
pub mod mesh;
pub mod output;
pub mod profile;
pub mod project;
pub mod run;
pub mod status;
pub mod suggest;

pub use sluice_proxy::process::duration;

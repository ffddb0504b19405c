//! `examples/mesh-bookshop` in a cluster: workloads with sidecars that the webhook gave them, and what a user does with them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edge;
mod prometheus;
mod roots;
mod spans;
mod stand;
mod story;
mod suggest;

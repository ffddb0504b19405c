//! The way of configuration from a controller to data planes, over real connections on loopback: who gets what, what
//! happens when either side is away, and that deltas over the wire equal the snapshot.
//!
//! The API server has no part in it: tokens here say themselves whose they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod controller;
mod kills;
mod law;
mod obtain;
mod on_demand;
mod peers;
mod places;
mod process;
mod raw;
mod refusals;
mod scopes;
mod streams;
mod world;

//! The ACME engine against a real authority, a real DNS server and a data plane that answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod challenges;
mod limits;
mod on_demand;
mod preflight;
mod renewal;
mod resume;
mod scale;
mod secrets;
mod webhook;

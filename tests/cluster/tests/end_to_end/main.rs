//! The whole way: objects in a real API server, gateways that the controller made, requests through them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificates;
mod istio;
mod outages;
mod rollouts;
mod sessions;
mod stand;
mod traffic;

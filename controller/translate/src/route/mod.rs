//! Routes: reading HTTPRoute and GRPCRoute into one model (`http`, `grpc`, with `filters`, `matches`, `cors` and
//! `timing` for the parts), deciding which listeners take a route (`attach`), and resolving its references
//! (`resolve`); `stream` judges the routes of whole connections.

mod attach;
mod cors;
mod faults;
mod filters;
mod grpc;
mod http;
mod matches;
mod resolve;
mod rule_status;
mod stream;
mod timing;

pub(crate) use grpc::read as read_grpc;
pub(crate) use http::read as read_http;
pub(crate) use resolve::{RouteOutput, backend_ids, backend_keys, compute};
pub(crate) use stream::compute as compute_stream;

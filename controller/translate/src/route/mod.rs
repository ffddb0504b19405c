//! Routes: reading HTTPRoute and GRPCRoute into one model (`http`, `grpc`, with `filters`, `matches`, `auth`, `cors` and
//! `timing` for the parts), deciding which listeners take a route (`attach`, `place`), and resolving its references
//! (`resolve`). Routes of whole connections are read by `streams` and put together by `stream`.

mod attach;
mod auth;
mod cors;
mod faults;
mod filters;
mod grpc;
mod http;
mod matches;
mod place;
mod resolve;
mod rule_status;
mod stream;
mod streams;
mod timing;

pub(crate) use attach::{Applicant, Refused, Taken, destinations};
pub(crate) use grpc::read as read_grpc;
pub(crate) use http::read as read_http;
pub(crate) use place::{Places, is_refused};
pub(crate) use resolve::{RouteOutput, backend_ids, backend_keys, compute, key_of};
pub(crate) use stream::{
    StreamOutput, backend_ids as stream_backend_ids, backend_keys as stream_backend_keys,
    compute as compute_stream, key as stream_key,
};
pub(crate) use streams::{tcp as read_tcp, tls as read_tls, udp as read_udp};

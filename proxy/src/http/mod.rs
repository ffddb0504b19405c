//! One request: decide, filter, try endpoints, answer, record. One file a phase; [`Engine`] reads like the list.
//!
//! In: requests that Pingora has parsed. Out: requests to endpoints, answers to clients, one record each. Only
//! `engine.rs`, `attempt.rs`, `answer.rs` and the header edits name Pingora's types.

mod answer;
mod asked;
mod attempt;
mod authorization;
mod authorized;
mod buffer;
mod cache;
mod client_certificate;
mod compression;
mod concurrency;
mod context;
mod cookies;
mod cors;
mod decide;
mod decompression;
mod engine;
mod ext_auth;
mod failure;
mod faults;
mod filters;
mod forwarded;
mod global;
mod guard;
mod handler;
mod headers;
mod hedging;
mod jwt;
mod mesh;
mod observe;
mod policy;
mod record;
mod redirect;
mod request;
mod response;
mod rewrite;
mod seen;
mod stand_in;
mod under_way;

pub use authorized::{Believed, Opinion, Sender, believed, opinion};
pub use context::RequestContext;
pub(crate) use decide::is_disguised_address;
pub use decide::{Decision, Matched, RequestView, decide};
pub use engine::Engine;
pub use redirect::{RedirectInput, location};
pub use rewrite::edit_path;

pub(crate) use asked::outcome as unreachable;
pub(crate) use cors::Cors;
pub(crate) use filters::CompiledFilters;
pub(crate) use handler::{Handler, handler};

//! Pure request matching: which rule of which route serves a request.
//!
//! A [`RouteTable`] holds the routes of one listener. [`RouteTable::find`] takes a [`Request`] and returns the winning
//! rule without allocating; [`RouteTable::with`] makes the next table from the last one and rebuilds only what an
//! edit touches; [`RouteTable::explain_miss`] says why nothing matched. [`path`] and [`host`] bring what a client
//! sends into the one form that is compared. No I/O, no clock, no async, no Pingora.
//!
//! # Precedence
//!
//! 1. **Hostname.** Gateway API, HTTPRoute `hostnames`: "precedence must be given to rules from the HTTPRoute with the
//!    largest number of characters in a matching non-wildcard hostname", then "in a matching hostname": the exact
//!    host, then the longest wildcard, then routes for every host. The sentence orders the rules that *match*; and a
//!    404 is due only "when no rules matching a request have been successfully attached". So when no rule of the more
//!    specific hostname matches, the next hostname is asked. A narrow route (a challenge path for one host) therefore
//!    never takes the rest of that host away from a wildcard route. Proxies that choose one virtual host first differ.
//! 2. **Path.** HTTPRoute `matches`: the exact path, then the prefix with the most characters. Regular expressions,
//!    whose place is "implementation-specific", stand between the two, those with more characters first: behind the
//!    prefixes, the usual `/` would hide every one of them.
//! 3. A method match, then more header matches, then more query matches.
//! 4. The older route, then `NAMESPACE/NAME`, then the earlier rule, then the earlier match of the rule.
//!
//! **GRPCRoute.** A match applies only to gRPC requests: content type `application/grpc…`, path `/SERVICE/METHOD`.
//! Its path ranks as what it fixes: service and method as that exact path, a service alone as the prefix `/SERVICE`,
//! anything else as the prefix `/`. Within equal prefixes follow "characters in a matching service", then "in a
//! matching method", for each part exact before pattern before absent. It counts as having a method match, since gRPC
//! is always POST. So GRPCRoutes and HTTPRoutes of one hostname merge by specificity.

mod candidate;
mod compile;
mod condition;
mod edit;
mod explain;
mod host_table;
mod leaf;
mod pattern;
mod prefixes;
mod query;
mod rank;
mod table;
mod trie;

pub mod host;
pub mod path;
pub mod readings;

pub use compile::{CompileError, CompiledMatch};
pub use condition::Request;
pub use explain::{NearMiss, Unmet};
pub use query::decode as form_decoded;
pub use table::{Found, Miss, RouteEntry, RouteTable, RuleEntry, TableRoute};
pub use trie::{Keyed, Trie};

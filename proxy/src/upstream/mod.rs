//! Endpoints: choice, health, load, DNS, session persistence, and the clients for mirrored requests and for calls of our own.
//!
//! In: endpoint sets of the snapshot ([`Upstreams::apply`]). Out, on the request path: a [`Permit`] of the backend, a
//! [`Picked`] endpoint of an [`EndpointPool`] for each try, and its [`peer`] for Pingora. Load and health belong to
//! the endpoint, not to the route, and survive every change of configuration that keeps the endpoint. Picking takes
//! no lock and allocates nothing.

mod affinity;
mod asked;
mod calls;
mod circuit;
mod connections;
mod dns;
mod endpoint;
mod hash_table;
mod health;
mod hedge;
mod lookup;
mod mirror;
mod outlier;
mod patient;
mod peer;
mod permits;
mod pool;
mod preface;
mod priority;
mod public;
mod random;
mod registry;
mod session;
mod socket;
mod tier;
mod tls;
mod tunnel;
mod url;
mod uses;
mod warmup;
mod weights;

pub use affinity::{Affinity, Key};
pub use asked::{Asked, AskedName, Unreachable};
pub use calls::Calls;
pub use circuit::{Admission, Circuit, Slot, Slots};
pub use dns::{Answer, Pace, ResolveError, Resolver};
pub use endpoint::{EjectPolicy, LONGEST_REST, Picked};
pub use health::{Check, CheckParts, HealthSnapshot, HealthState, MOST_AT_ONCE, grpc_health};
pub use lookup::NoAddress;
pub use mirror::{MirrorBody, MirrorClient, MirrorLimits, MirrorRequest, MirrorStats};
pub use outlier::Verdict;
pub use patient::{announced, for_upgrade};
pub use peer::{POOL_IDLE, STREAMS_PER_UPSTREAM, peer, shape};
pub use permits::{Permit, Permits};
pub use pool::{ChecksSnapshot, Choice, EndpointPool, EndpointSnapshot, PoolSnapshot};
pub use preface::preface;
pub use registry::Upstreams;
pub use session::{SessionId, Sessions};
pub use tls::{Anyone, ClientError, TlsClient};
pub use uses::Uses;
pub use weights::{Sampler, Weights};

pub(crate) use calls::{Answer as CallAnswer, CallError};
pub(crate) use connections::Peer;
pub(crate) use endpoint::millis as since_start_ms;
pub(crate) use hedge::{Course, Heat, HedgingConnector, Runner};
pub(crate) use patient::{connect_after, connect_from};
pub(crate) use public::is_public;
pub(crate) use random::{below as random_below, number as random_number};
pub(crate) use tls::{PeerMemory, TlsConnector, TlsDial, TlsStream, system_roots};
pub(crate) use tunnel::open as open_tunnel;
pub(crate) use url::HttpUrl;

use socket::{keep_alive, kind_of, socket_option};

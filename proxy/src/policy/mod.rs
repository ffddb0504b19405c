//! What TrafficPolicies ask for, compiled: one file a setting; and AuthorizationPolicies (`authorization`). No Pingora, no clock, no randomness but what is given; but
//! for `global`, which asks a server, pure.
//!
//! [`PolicyRuntime`] is what holds for the requests of one rule at one listener, all levels laid over each other.
//! Settings that several rules inherit are compiled once and shared (`kept`), so that what they count, they count
//! together.

mod authorization;
mod buffer;
mod cache;
mod clients;
mod coding;
mod compression;
mod concurrency;
mod decompression;
mod faults;
mod global;
mod hedging;
mod jwt;
mod kept;
mod rates;
mod servers;
mod told;

pub use authorization::{
    AuthorizationRuntime, Facts, Judged, Peer, PolicyRule, RequestFacts, Token, Verdict,
};
pub use buffer::{BUFFER_ROOM_BYTES, BufferRoom};
pub(crate) use buffer::{Filling, NoRoom, Whole};
pub(crate) use cache::{Arriving, Cache, Entry, Name, Store};
pub(crate) use clients::Clients;
pub(crate) use coding::{Decoder, Undecodable};
pub(crate) use compression::{Compressing, Compression, OF_THE_BYTES, has_directive, is_coded};
pub use concurrency::Limiter;
pub(crate) use concurrency::{Admitted, Concurrency};
pub(crate) use decompression::{Decompression, Plan};
pub(crate) use faults::Faults;
pub(crate) use global::{Answer, GlobalRates};
pub(crate) use hedging::Hedging;
pub(crate) use jwt::{
    Authenticator, Claims, Identity, Json, KeySet, KeySetError, Refusal, Strip, TokenVerdict,
};
pub(crate) use kept::Kept;
pub(crate) use rates::{Asking, LocalRates};
pub(crate) use servers::RateServers;
pub(crate) use told::{Refused, Told, whole_seconds};

use crate::auth::Authorizer;
use crate::snapshot::BackendRuntime;
use sluice_ir as ir;
use std::sync::Arc;

/// Everything that policies ask for at one place; never empty.
pub struct PolicyRuntime {
    /// The same in the IR, with the policy that gives each setting.
    pub settings: ir::TrafficSettings,
    pub(crate) clients: Option<Arc<Clients>>,
    pub(crate) rates: Option<Arc<LocalRates>>,
    pub(crate) global: Option<Arc<GlobalRates>>,
    pub(crate) faults: Option<Arc<Faults>>,
    pub(crate) decompression: Option<Arc<Decompression>>,
    pub(crate) cache: Option<Arc<Cache>>,
    pub(crate) compression: Option<Arc<Compression>>,
    pub(crate) concurrency: Option<Arc<Concurrency>>,
    pub(crate) hedging: Option<Arc<Hedging>>,
    /// Who is asked whether a request may go on.
    pub(crate) ext_auth: Option<Arc<Authorizer>>,
}

impl PolicyRuntime {
    /// Compiles settings; those that are compiled already are shared.
    pub(crate) fn compile(
        settings: ir::TrafficSettings,
        kept: &mut Kept,
        backend: impl FnOnce(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
    ) -> Self {
        let authorizer = settings.ext_auth.as_ref().and_then(|it| it.value.authorizer());
        Self {
            ext_auth: authorizer.map(|it| Arc::new(Authorizer::compile(it, backend))),
            clients: settings.clients.as_ref().map(|it| kept.clients.get(it, |it, _| Clients::compile(it))),
            rates: settings
                .rate_limit
                .as_ref()
                .filter(|it| !it.value.local.is_empty())
                .map(|it| kept.rates.get(it, LocalRates::compile)),
            global: settings.rate_limit.as_ref().and_then(|it| kept.global(it)),
            faults: settings
                .faults
                .as_ref()
                .filter(|it| it.value != ir::Faults::default())
                .map(|it| kept.faults.get(it, |it, _| Faults::compile(it))),
            decompression: settings
                .decompression
                .as_ref()
                .filter(|it| !it.value.codings.is_empty())
                .map(|it| kept.decompression.get(it, Decompression::compile)),
            cache: settings
                .cache
                .as_ref()
                .filter(|it| it.value.most_bytes > 0)
                .map(|it| kept.cache.get(it, |it, _| Cache::compile(it))),
            compression: settings
                .compression
                .as_ref()
                .filter(|it| !it.value.codings.is_empty())
                .map(|it| kept.compression.get(it, Compression::compile)),
            concurrency: settings
                .concurrency
                .as_ref()
                .filter(|it| it.value.max_requests > 0)
                .map(|it| kept.concurrency.get(it, |it, _| Concurrency::compile(it))),
            hedging: settings
                .hedging
                .as_ref()
                .filter(|it| it.value.extra_tries > 0)
                .map(|it| kept.hedging.get(it, Hedging::compile)),
            settings,
        }
    }

    /// Whether a request may have to wait for it.
    pub(crate) fn waits(&self) -> bool {
        self.global.is_some() || self.ext_auth.is_some() || self.faults.is_some() || self.buffer().is_some()
    }

    /// Bytes up to which bodies are read before an endpoint is chosen.
    pub(crate) fn buffer(&self) -> Option<u64> {
        self.settings.buffer.as_ref().map(|it| it.value.max_bytes).filter(|bytes| *bytes > 0)
    }

    /// Bounds on requests.
    pub(crate) fn limits(&self) -> Option<&ir::RequestLimits> {
        self.settings.limits.as_ref().map(|it| &it.value)
    }

    /// Time bounds.
    pub(crate) fn timeouts(&self) -> Option<&ir::Timeouts> {
        self.settings.timeouts.as_ref().map(|it| &it.value)
    }
}

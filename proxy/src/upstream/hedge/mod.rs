//! Hedged requests: a further try starts while an earlier one goes on, and the first good answer wins.
//!
//! Pingora drives one connection for each try. So a hedged try is one connection to Pingora, of a protocol of ours
//! ([`Race`](race::Race)): it takes the request, and when that is whole sends it to one endpoint, after a delay to another
//! one too, over sessions of a connector of its own. What loses is dropped, which closes its connection or resets its
//! stream. Who may run, and who is told how it ended, is for the [`Course`] to say.

mod connector;
mod head;
mod race;
mod session;

pub(crate) use connector::HedgingConnector;

use super::circuit::Admission;
use super::endpoint::Picked;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::tls::CustomALPN;
use pingora_core::upstreams::peer::{HttpPeer, ProxyDigestUserDataHook};
use std::sync::Arc;
use std::time::Duration;

/// Tells Pingora to ask our connector. Never sent.
const OURS: &[u8] = b"hedged";

/// Connections of hedged tries are not kept under a key of Pingora's, and none is ever found under this one.
const GROUP: u64 = u64::MAX;

/// The rules of one race.
pub(crate) trait Course: Send + Sync + 'static {
    /// How long nobody's answer is waited for before a further try starts.
    fn delay(&self) -> Duration;

    /// A further try; `None`: there were enough, or there is no other endpoint. Not asked again then.
    fn further(&self) -> Option<Runner>;

    /// Whether an answer of this status ends the race.
    fn is_good(&self, status: u16) -> bool;

    /// A further try ended without winning: with this status, or without an answer.
    fn lost(&self, runner: &Runner, status: Option<u16>);

    /// The answer of a further try is used.
    fn won(&self, runner: Runner);
}

/// A further try.
pub(crate) struct Runner {
    /// Where it goes.
    pub(crate) peer: Box<HttpPeer>,
    /// The same; its load counts while this is held.
    pub(crate) picked: Picked,
    /// What the breakers let it have.
    pub(crate) admission: Option<Admission>,
}

/// One hedged try: where it goes first, and the rules.
pub(crate) struct Heat {
    pub(crate) first: HttpPeer,
    /// Whether it does no harm to send the request again over another connection.
    pub(crate) is_idempotent: bool,
    pub(crate) course: Arc<dyn Course>,
}

impl Heat {
    /// What Pingora connects to in place of the first endpoint.
    pub(crate) fn into_peer(self) -> Box<HttpPeer> {
        let mut peer = Box::new(self.first.clone());
        peer.group_key = GROUP;
        peer.options.alpn = ALPN::Custom(CustomALPN::new(OURS.to_vec()));
        peer.options.max_h2_streams = 1;
        peer.options.custom_l4 = None;
        let heat = Arc::new(self);
        let carrier: ProxyDigestUserDataHook = Arc::new(move |_, _| Some(Box::new(heat.clone())));
        peer.options.proxy_digest_user_data_hook = Some(carrier);
        peer
    }
}

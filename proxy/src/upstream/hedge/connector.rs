//! Where Pingora gets connections that are not its own: to TLS backends, and those of hedged tries.

use super::Heat;
use super::race::{Answered, Racers};
use super::session::{Ours, Race};
use crate::upstream::TlsConnector;
use async_trait::async_trait;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::custom::{Connection, Connector};
use pingora_core::upstreams::peer::Peer;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(crate) struct HedgingConnector {
    tls: TlsConnector,
    racers: Arc<Racers>,
}

impl HedgingConnector {
    /// Keeps at most as many idle connections as the options say, of each kind.
    pub(crate) fn new(options: ConnectorOptions) -> Self {
        let racers = Racers::new_custom(Some(options.clone()), TlsConnector::new(options.clone()));
        Self { tls: TlsConnector::new(options), racers: Arc::new(racers) }
    }
}

#[async_trait]
impl Connector for HedgingConnector {
    type Session = Ours;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        peer: &P,
    ) -> Result<(Connection<Ours>, bool)> {
        if let Some(heat) = heat(peer) {
            let race = Race::new(self.racers.clone(), heat);
            return Ok((Connection::Session(Ours::Race(Box::new(race))), false));
        }
        let (connection, reused) = self.tls.get_http_session(peer).await?;
        let connection = match connection {
            Connection::Session(session) => Connection::Session(Ours::Http2(Box::new(session))),
            Connection::Stream(stream) => Connection::Stream(stream),
        };
        Ok((connection, reused))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<Ours> {
        self.tls.reused_http_session(peer).await.map(|session| Ours::Http2(Box::new(session)))
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: Ours,
        peer: &P,
        idle_timeout: Option<Duration>,
    ) {
        match session {
            Ours::Http2(session) => self.tls.release_http_session(*session, peer, idle_timeout).await,
            Ours::Race(race) => {
                // A connection in the middle of an answer is closed by Pingora's pool.
                if let Some(Answered { session, peer }) = race.into_winner() {
                    self.racers.release_http_session(session, &peer, peer.options.idle_timeout).await;
                }
            }
        }
    }
}

/// Takes the race out of the peer that [`Heat::into_peer`] has made.
fn heat<P: Peer>(peer: &P) -> Option<Arc<Heat>> {
    let carrier = peer.proxy_digest_user_data_hook()?;
    let request = http::Request::new(()).into_parts().0;
    let response = ResponseHeader::build(200, Some(0)).ok()?;
    carrier(&request, &response)?.downcast::<Arc<Heat>>().ok().map(|heat| *heat)
}

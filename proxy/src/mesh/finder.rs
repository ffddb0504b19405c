//! Asks for destinations that the configuration does not have yet.

use crate::listen::Destination;
use crate::sync::{self, OnDemand};
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// What became of a question for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Its resources are part of the configuration now.
    Known,
    /// Nobody in the mesh is there.
    Nobody,
    /// There was no answer.
    Unknown,
}

/// Knows destinations by `IP:PORT` and `HOST:PORT`.
#[async_trait]
pub trait Destinations: Send + Sync + 'static {
    /// Makes a destination part of the configuration, if it is one of the mesh. It is called for each connection that meets
    /// an unknown destination, and each request: what was answered before must be cheap. Cancel safe.
    async fn want(&self, destination: Destination) -> Wanted;
}

/// Knows nobody.
#[async_trait]
impl Destinations for () {
    async fn want(&self, _destination: Destination) -> Wanted {
        Wanted::Nobody
    }
}

/// Whom to ask, and for how long.
#[derive(Default)]
pub(crate) struct Finder(OnceLock<(Arc<dyn Destinations>, Duration)>);

impl Finder {
    /// Only the first word counts.
    pub(crate) fn set(&self, source: Arc<dyn Destinations>, wait: Duration) {
        let _ = self.0.set((source, wait));
    }

    /// How long is waited for what is not there yet.
    pub(crate) fn wait(&self) -> Duration {
        self.0.get().map_or(super::WAIT, |(_, wait)| *wait)
    }

    /// Whether the configuration knows it now.
    pub(crate) async fn learn(&self, destination: Destination) -> bool {
        let Some((source, wait)) = self.0.get() else { return false };
        matches!(timeout(*wait, source.want(destination)).await, Ok(Wanted::Known))
    }
}

/// The control plane knows, over the connection that brings the configuration.
#[async_trait]
impl Destinations for OnDemand {
    async fn want(&self, destination: Destination) -> Wanted {
        match OnDemand::want(self, &destination.name()).await {
            sync::Wanted::Known(_) => Wanted::Known,
            sync::Wanted::Nobody => Wanted::Nobody,
            sync::Wanted::Unavailable => Wanted::Unknown,
        }
    }
}

//! Runs orders for what is wanted.
//!
//! [`Engine::run`] is one future that owns everything under way: dropping it stops at once and leaves in the store what
//! the next engine needs. A [`Handle`] shows statuses and asks for names of handshakes. Within: `run` is the loop that
//! starts and ends tasks, `keep` the life of one certificate (with `view`, what the store has of it), `issuers` that of one account, `on_demand` what is
//! remembered of handshakes, `board` what is shown.

mod allow;
mod ari;
mod board;
mod handle;
mod hosts;
mod issuers;
mod keep;
mod on_demand;
mod run;
mod settings;
mod view;

pub use handle::{Handle, Refused};
pub use settings::{Clock, Settings};

use crate::{Challenges, Store, WantedSet};
use board::Board;
use handle::Ask;
use hosts::Hosts;
use issuers::Cell;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Handshakes that wait for the loop at most: more are refused.
const MAX_ASKS: usize = 1024;
/// Questions for renewal windows at one time.
const PARALLEL_WINDOWS: usize = 4;
/// Questions to allow endpoints at one time.
const PARALLEL_ALLOWS: usize = 16;
/// Certificates of handshakes that are taken over at one time.
const PARALLEL_ADOPTIONS: usize = 16;

/// Obtains and renews certificates.
pub struct Engine {
    shared: Arc<Shared>,
    handle: Handle,
    asks: mpsc::Receiver<Ask>,
}

/// What all tasks of an engine use.
struct Shared {
    store: Arc<dyn Store>,
    challenges: Arc<dyn Challenges>,
    settings: Settings,
    /// This engine and no other, also not an earlier one of the same name.
    owner: String,
    board: Arc<Board>,
    orders: Semaphore,
    hosts: Hosts,
    windows: Semaphore,
    allows: Semaphore,
    adoptions: Semaphore,
}

impl Engine {
    /// An engine that does nothing until it runs.
    pub fn new(store: Arc<dyn Store>, challenges: Arc<dyn Challenges>, settings: Settings) -> Self {
        let (sender, asks) = mpsc::channel(MAX_ASKS);
        let board = Arc::new(Board::default());
        let handle = Handle::new(board.clone(), sender);
        let shared = Shared {
            store,
            challenges,
            owner: format!("{}-{:016x}", settings.owner, rand::random::<u64>()),
            board,
            orders: Semaphore::new(settings.parallel_orders.max(1)),
            hosts: Hosts::default(),
            windows: Semaphore::new(PARALLEL_WINDOWS),
            allows: Semaphore::new(PARALLEL_ALLOWS),
            adoptions: Semaphore::new(PARALLEL_ADOPTIONS),
            settings,
        };
        Self { shared: Arc::new(shared), handle, asks }
    }

    /// To ask it while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Obtains and renews what is wanted until `stop`. Dropping the future is allowed at any moment.
    pub async fn run(self, wanted: watch::Receiver<Arc<WantedSet>>, stop: CancellationToken) {
        drop(self.handle);
        run::run(self.shared, wanted, self.asks, stop).await;
    }
}

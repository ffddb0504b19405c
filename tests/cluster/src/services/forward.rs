//! One socket of a Service and where its connections go.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How long an endpoint may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a client of datagrams keeps its endpoint without a datagram.
const IDLE: Duration = Duration::from_secs(10);

/// Listens until it is dropped. Connections that exist go on, as with kube-proxy.
pub(super) struct Forward {
    task: JoinHandle<()>,
    targets: Targets,
}

/// The endpoints, taken in turn.
#[derive(Clone, Default)]
pub(super) struct Targets {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
}

impl Forward {
    /// Starts to listen at an address, for datagrams or connections.
    pub(super) fn start(address: SocketAddr, datagrams: bool) -> Self {
        let targets = Targets::default();
        let served = targets.clone();
        let task = tokio::spawn(async move {
            loop {
                let ended =
                    if datagrams { relay(address, &served).await } else { accept(address, &served).await };
                // Taken for a moment by the socket that a deleted Service of the same address leaves.
                if ended.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        });
        Self { task, targets }
    }

    pub(super) fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Targets {
    pub(super) fn set(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// All endpoints, beginning with the one whose turn it is.
    fn in_turn(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
        addresses
    }
}

async fn accept(address: SocketAddr, targets: &Targets) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        let targets = targets.in_turn();
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            match connect(&targets).await {
                Some(mut server) => drop(copy_bidirectional(&mut client, &mut server).await),
                // Nobody there: a reset, as from a node without endpoints.
                None => drop(client.set_zero_linger()),
            }
        });
    }
}

async fn connect(targets: &[SocketAddr]) -> Option<TcpStream> {
    for target in targets {
        if let Ok(Ok(server)) = timeout(CONNECT, TcpStream::connect(target)).await {
            let _ = server.set_nodelay(true);
            return Some(server);
        }
    }
    None
}

/// Gives each client a socket of its own towards its endpoint.
async fn relay(address: SocketAddr, targets: &Targets) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(address).await?);
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, tokio::task::AbortHandle)> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        clients.retain(|_, (_, answers)| !answers.is_finished());
        let towards = match clients.entry(client) {
            Entry::Occupied(entry) => entry.get().0.clone(),
            Entry::Vacant(entry) => {
                let Some(target) = targets.in_turn().first().copied() else { continue };
                let towards = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?);
                towards.connect(target).await?;
                let task = answers.spawn(answer(towards.clone(), socket.clone(), client));
                entry.insert((towards, task)).0.clone()
            }
        };
        let _ = towards.send(&buffer[..length]).await;
    }
}

async fn answer(from: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while let Ok(Ok(length)) = timeout(IDLE, from.recv(&mut buffer)).await {
        let _ = socket.send_to(&buffer[..length], client).await;
    }
}

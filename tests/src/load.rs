//! Steady requests over keep-alive connections, with an exact account of what became of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{Answer, Parsed};

const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Whole answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests that were sent and got no whole answer, with what happened.
    pub lost: Vec<String>,
    /// Connections that were refused or closed before anything was sent on them.
    pub turned_away: u64,
    /// Connections that the server announced to close with an answer.
    pub announced: u64,
}

impl Account {
    /// Requests with a whole answer.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Panics unless every request got a whole 200.
    #[track_caller]
    pub fn expect_all_200(&self) {
        assert!(
            self.lost.is_empty(),
            "{} requests lost, first: {:?}",
            self.lost.len(),
            &self.lost[..self.lost.len().min(5)]
        );
        assert_eq!(self.answers.keys().copied().collect::<Vec<_>>(), [200], "{:?}", self.answers);
    }
}

/// Running load.
pub struct Load {
    tasks: JoinSet<()>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    account: Arc<Mutex<Account>>,
}

impl Load {
    /// So many connections, each of which sends the request as soon as the answer to the one before is there.
    /// `judge` looks at every answer and may object.
    pub fn start(
        address: SocketAddr,
        connections: usize,
        request: Vec<u8>,
        judge: impl Fn(&Answer) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let worker = Arc::new(Worker {
            address,
            request,
            judge: Box::new(judge),
            stop: Arc::default(),
            done: Arc::default(),
            account: Arc::default(),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let worker = worker.clone();
            tasks.spawn(async move { worker.run().await });
        }
        Self { tasks, stop: worker.stop.clone(), done: worker.done.clone(), account: worker.account.clone() }
    }

    /// Whole answers so far.
    pub fn answered(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub async fn more(&self, count: u64) {
        let wanted = self.answered() + count;
        crate::wait::eventually("more answers", || async {
            self.answered() >= wanted || self.tasks.is_empty()
        })
        .await;
    }

    /// Lets running requests end and returns the account.
    pub async fn finish(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits until the server has turned every connection away, and returns the account.
    pub async fn ended(mut self) -> Account {
        while let Some(ended) = crate::wait::soon("the end of the load", self.tasks.join_next()).await {
            ended.expect("a worker");
        }
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks at an answer and may object.
type Judge = dyn Fn(&Answer) -> Result<(), String> + Send + Sync;

struct Worker {
    address: SocketAddr,
    request: Vec<u8>,
    judge: Box<Judge>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    account: Arc<Mutex<Account>>,
}

/// How a connection's life went on after one request.
enum After {
    Again,
    Reconnect,
    Lost(String),
    TurnedAway,
}

impl Worker {
    async fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(mut stream) = TcpStream::connect(self.address).await else {
                self.note(|account| account.turned_away += 1);
                return;
            };
            let _ = stream.set_nodelay(true);
            if !self.connection(&mut stream).await {
                return;
            }
        }
    }

    /// Uses one connection; `false`: the server takes no more.
    async fn connection(&self, stream: &mut TcpStream) -> bool {
        let mut buffer = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            match self.one(stream, &mut buffer).await {
                After::Again => {}
                After::Reconnect => {
                    self.note(|account| account.announced += 1);
                    return true;
                }
                After::TurnedAway => {
                    self.note(|account| account.turned_away += 1);
                    return true;
                }
                After::Lost(how) => {
                    self.note(|account| account.lost.push(how));
                    return false;
                }
            }
        }
        true
    }

    async fn one(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>) -> After {
        // Whoever sees the end of the connection before sending has lost nothing.
        let mut nothing = [0; 1];
        match stream.try_read(&mut nothing) {
            Ok(0) => return After::TurnedAway,
            Ok(_) => return After::Lost("bytes that nobody asked for".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return After::TurnedAway,
        }
        if let Err(error) = stream.write_all(&self.request).await {
            return After::Lost(format!("send: {error}"));
        }
        let answer = match timeout(ANSWER_TIME, read(stream, buffer)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(how)) => return After::Lost(how),
            Err(_) => return After::Lost(format!("no answer within {ANSWER_TIME:?}")),
        };
        if let Err(how) = (self.judge)(&answer) {
            return After::Lost(how);
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        self.note(|account| *account.answers.entry(answer.status).or_default() += 1);
        if answer.closes() { After::Reconnect } else { After::Again }
    }

    fn note(&self, edit: impl FnOnce(&mut Account)) {
        edit(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Answer, String> {
    loop {
        match crate::client::parse(buffer, false)? {
            Parsed::Whole(answer, length) => {
                buffer.drain(..length);
                return Ok(answer);
            }
            Parsed::UntilClose(..) => return Err("an answer without length".to_owned()),
            Parsed::Partial => {}
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err(format!("closed after {} bytes of an answer", buffer.len())),
            Ok(_) => {}
            Err(error) => return Err(format!("after {} bytes of an answer: {error}", buffer.len())),
        }
    }
}

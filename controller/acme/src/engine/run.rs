//! The loop: starts a task for each issuer and certificate, ends those that are not wanted any more, answers handshakes.

use super::handle::{Ask, Refused};
use super::keep::{Keeper, show};
use super::on_demand::{self, Held, Waiters};
use super::{Cell, Shared, issuers};
use crate::order::clear;
use crate::{CertificateKey, IssuerName, Reason, State, Status, Wanted, WantedSet};
use futures::StreamExt as _;
use futures::future::{AbortHandle, BoxFuture, FutureExt as _, abortable};
use futures::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often certificates of handshakes that nobody keeps are looked at.
const ADOPT_INTERVAL: Duration = Duration::from_secs(3600);

/// Runs until `stop`.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut wanted: watch::Receiver<Arc<WantedSet>>,
    mut asks: mpsc::Receiver<Ask>,
    stop: CancellationToken,
) {
    let mut tasks = Tasks::new(shared.clone());
    let publish = shared.board.publish();
    tokio::pin!(publish);
    let (mut has_wishes, mut has_asks) = (true, true);
    let mut look = tokio::time::interval(ADOPT_INTERVAL);
    wanted.mark_changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = &mut publish => {}
            changed = wanted.changed(), if has_wishes => match changed {
                Ok(()) => {
                    let set = wanted.borrow_and_update().clone();
                    tasks.apply(&set);
                }
                Err(_) => has_wishes = false,
            },
            ask = asks.recv(), if has_asks => match ask {
                Some(ask) => tasks.ask(ask),
                None => has_asks = false,
            },
            _ = look.tick() => tasks.adopt(),
            Some(event) = tasks.running.next() => tasks.ended(event),
        }
    }
}

/// How a task ended.
enum Event {
    /// It was told to, or is done.
    Over,
    /// A name of a handshake was admitted or not.
    Admitted(Arc<Cell>, Wanted, Result<(), Refused>),
    /// A certificate of a handshake is not kept any more.
    Left(CertificateKey, u64),
}

/// What runs.
struct Tasks {
    shared: Arc<Shared>,
    running: FuturesUnordered<BoxFuture<'static, Event>>,
    issuers: HashMap<IssuerName, (Arc<Cell>, AbortHandle)>,
    certificates: HashMap<CertificateKey, Task>,
    waiters: Waiters,
    /// Certificates of handshakes that are in the store.
    held: HashMap<CertificateKey, Wanted>,
    missing: HashSet<CertificateKey>,
    started: u64,
}

/// One certificate's task.
struct Task {
    wanted: Wanted,
    cell: Arc<Cell>,
    abort: AbortHandle,
    seen: watch::Sender<Option<Arc<Status>>>,
    look: Arc<Notify>,
    is_on_demand: bool,
    /// Tells it from an earlier task of the same certificate.
    number: u64,
    _held: Option<Held>,
}

impl Tasks {
    fn new(shared: Arc<Shared>) -> Self {
        let running = FuturesUnordered::new();
        // So that there is always something to wait for.
        running.push(std::future::pending().boxed());
        Self {
            shared,
            running,
            issuers: HashMap::new(),
            certificates: HashMap::new(),
            waiters: Waiters::default(),
            held: HashMap::new(),
            missing: HashSet::new(),
            started: 0,
        }
    }

    /// Brings what runs to what is wanted.
    fn apply(&mut self, set: &WantedSet) {
        self.apply_issuers(set);
        let mut listed = HashSet::new();
        for wanted in &set.certificates {
            if listed.insert(wanted.key.clone()) {
                self.want(wanted);
            }
        }
        let gone: Vec<_> =
            self.certificates.iter().filter(|(key, task)| self.is_gone(key, task, &listed)).collect();
        let gone: Vec<CertificateKey> = gone.into_iter().map(|it| it.0.clone()).collect();
        gone.iter().for_each(|key| self.give_up(key));
        self.hold(set);
        let before = std::mem::replace(&mut self.missing, set.missing.clone());
        self.missing.difference(&before).for_each(|key| self.look(key));
        self.forget_unlisted(&listed);
    }

    /// Takes over which certificates of handshakes are in the store.
    fn hold(&mut self, set: &WantedSet) {
        let now: HashMap<_, _> = set.held.iter().map(|it| (it.key.clone(), it.clone())).collect();
        let before = std::mem::replace(&mut self.held, now);
        for (key, was) in before {
            let Some(task) = self.certificates.get(&key).filter(|it| it.is_on_demand) else { continue };
            match self.held.get(&key).cloned() {
                None => self.give_up(&key),
                Some(now) if now != was => self.keep(now, task.cell.clone(), true, true),
                Some(_) => {}
            }
        }
        self.adopt();
    }

    /// Keeps certificates of handshakes that are in the store and that nobody keeps.
    fn adopt(&mut self) {
        let idle = self.held.values().filter(|it| !self.certificates.contains_key(&it.key));
        let idle: Vec<Wanted> = idle.filter(|it| !self.waiters.has(&it.key)).cloned().collect();
        for wanted in idle {
            let Some(cell) = self.issuers.get(&wanted.issuer).map(|it| it.0.clone()) else { continue };
            self.waiters.open(&wanted.key);
            let shared = self.shared.clone();
            self.start(async move {
                let admitted = on_demand::readmit(&shared, &cell, &wanted).await;
                Event::Admitted(cell, wanted, admitted)
            });
        }
    }

    fn apply_issuers(&mut self, set: &WantedSet) {
        let listed: HashSet<&IssuerName> = set.issuers.iter().map(|it| &it.name).collect();
        let gone: Vec<IssuerName> = self.issuers.keys().filter(|it| !listed.contains(it)).cloned().collect();
        for name in gone {
            if let Some((_, abort)) = self.issuers.remove(&name) {
                abort.abort();
            }
            self.shared.board.issuer(&name, None);
        }
        for issuer in &set.issuers {
            if self.issuers.get(&issuer.name).is_some_and(|(cell, _)| cell.issuer == *issuer) {
                continue;
            }
            let cell = Arc::new(Cell::new(issuer.clone()));
            let (shared, kept) = (self.shared.clone(), cell.clone());
            let abort = self.start(async move {
                issuers::keep(&shared, &kept).await;
                Event::Over
            });
            if let Some((_, abort)) = self.issuers.insert(issuer.name.clone(), (cell, abort)) {
                abort.abort();
            }
        }
    }

    /// Whether a task is to end: it is not listed and no handshake's, or its issuer is another one now.
    fn is_gone(&self, key: &CertificateKey, task: &Task, listed: &HashSet<CertificateKey>) -> bool {
        let has_issuer =
            self.issuers.get(&task.wanted.issuer).is_some_and(|it| Arc::ptr_eq(&it.0, &task.cell));
        let is_kept = listed.contains(key) || (task.is_on_demand && has_issuer);
        !is_kept
    }

    /// Statuses of certificates that never had a task, for want of an issuer.
    fn forget_unlisted(&self, listed: &HashSet<CertificateKey>) {
        for key in self.shared.board.keys() {
            if !listed.contains(&key) && !self.certificates.contains_key(&key) {
                self.shared.board.status(&key, None);
            }
        }
    }

    fn want(&mut self, wanted: &Wanted) {
        let Some(cell) = self.issuers.get(&wanted.issuer).map(|it| it.0.clone()) else {
            if self.certificates.contains_key(&wanted.key) {
                self.give_up(&wanted.key);
            }
            return self.show_missing(wanted);
        };
        let old = self.certificates.get(&wanted.key);
        let is_same = |it: &Task| it.wanted == *wanted && Arc::ptr_eq(&it.cell, &cell) && !it.is_on_demand;
        if old.is_some_and(is_same) {
            return;
        }
        let is_changed = old.is_some_and(|it| it.wanted == *wanted);
        self.keep(wanted.clone(), cell, false, is_changed);
    }

    fn show_missing(&self, wanted: &Wanted) {
        let message = format!("issuer {} does not exist; create it or name another one", wanted.issuer);
        let status = Status {
            issuer: wanted.issuer.clone(),
            names: wanted.names.clone(),
            current: None,
            state: State::Waiting { reason: Reason::Issuer, message, until: None },
        };
        show(&self.shared.board, &watch::Sender::new(None), &wanted.key, Arc::new(status));
    }

    /// Starts the task of a certificate in place of the one before.
    fn keep(&mut self, wanted: Wanted, cell: Arc<Cell>, is_on_demand: bool, is_changed: bool) {
        let (seen, look) = (watch::Sender::new(None), Arc::new(Notify::new()));
        self.started += 1;
        let number = self.started;
        let keeper = Keeper {
            shared: self.shared.clone(),
            cell: cell.clone(),
            wanted: wanted.clone(),
            seen: seen.clone(),
            look: look.clone(),
            is_on_demand,
        };
        let key = wanted.key.clone();
        let abort = if is_on_demand {
            let key = key.clone();
            self.start(on_demand::keep(keeper).map(move |()| Event::Left(key, number)))
        } else {
            self.start(keeper.keep(is_changed).map(|()| Event::Over))
        };
        let held = is_on_demand.then(|| Held::new(cell.clone()));
        let task = Task { wanted, cell, abort, seen, look, is_on_demand, number, _held: held };
        if let Some(old) = self.certificates.insert(key, task) {
            old.abort.abort();
        }
    }

    /// Ends the task of a certificate and takes down what it set up.
    fn give_up(&mut self, key: &CertificateKey) {
        let Some(task) = self.certificates.remove(key) else { return };
        task.abort.abort();
        self.shared.board.status(key, None);
        let (shared, key) = (self.shared.clone(), key.clone());
        self.start(async move {
            let issuer = &task.cell.issuer;
            let given_up = clear::abandon(&*shared.store, &*shared.challenges, issuer, &key).await;
            if let Err(trouble) = given_up {
                tracing::warn!(certificate = %key, error = trouble.message, "the order is left as it is");
            }
            Event::Over
        });
    }

    fn look(&self, key: &CertificateKey) {
        if let Some(task) = self.certificates.get(key) {
            task.look.notify_one();
        }
    }

    /// A handshake wants a certificate.
    fn ask(&mut self, ask: Ask) {
        if let Some(task) = self.certificates.get(&ask.key) {
            let _ = ask.reply.send(Ok(task.seen.subscribe()));
            return;
        }
        let (cell, wanted) = match self.may_ask(&ask) {
            Ok(it) => it,
            Err(refused) => {
                let _ = ask.reply.send(Err(refused));
                return;
            }
        };
        if !self.waiters.add(&wanted.key, ask.reply) {
            return;
        }
        let shared = self.shared.clone();
        self.start(async move {
            let admitted = on_demand::admit(&shared, &cell, &wanted).await;
            Event::Admitted(cell, wanted, admitted)
        });
    }

    /// What can be said without asking anybody.
    fn may_ask(&self, ask: &Ask) -> Result<(Arc<Cell>, Wanted), Refused> {
        let wanted = on_demand::wanted(ask)?;
        let cell = self.issuers.get(&ask.issuer).map(|it| it.0.clone());
        let cell = cell.ok_or_else(|| Refused::Issuer(ask.issuer.clone()))?;
        let on_demand = cell.issuer.on_demand.as_ref().ok_or_else(|| Refused::Issuer(ask.issuer.clone()))?;
        if let Some(Err(refused)) = cell.asked.known(&ask.name, self.shared.settings.clock.now()) {
            return Err(refused);
        }
        let held = cell.asked.held();
        if held >= on_demand.max_names {
            let text = format!("issuer {} holds {held} names of handshakes, no more are allowed", ask.issuer);
            return Err(Refused::Quota(text));
        }
        Ok((cell, wanted))
    }

    fn ended(&mut self, event: Event) {
        match event {
            Event::Over => {}
            Event::Admitted(cell, wanted, Ok(())) => {
                let key = wanted.key.clone();
                // Meanwhile it may have become a listener's.
                if !self.certificates.contains_key(&key) {
                    self.keep(wanted, cell, true, false);
                }
                let seen = self.certificates.get(&key).map(|it| it.seen.subscribe());
                self.waiters.answer(&key, &seen.ok_or(Refused::Stopped));
            }
            Event::Admitted(_, wanted, Err(refused)) => self.waiters.answer(&wanted.key, &Err(refused)),
            Event::Left(key, number) => {
                if self.certificates.get(&key).is_some_and(|it| it.number == number) {
                    self.certificates.remove(&key);
                    self.shared.board.status(&key, None);
                }
            }
        }
    }

    /// Starts something that can be ended.
    fn start(&mut self, task: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        let (task, abort) = abortable(task);
        self.running.push(task.map(|it| it.unwrap_or(Event::Over)).boxed());
        abort
    }
}

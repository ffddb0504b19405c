//! The life of one certificate: looked up, ordered when it is due, renewed, for ever.

use super::ari::{self, Window};
use super::board::Board;
use super::issuers::{Account, Cell};
use super::view::{Plan, View, time};
use super::{Shared, allow};
use crate::client::account::Registered;
use crate::order::certificate;
use crate::order::record::{self, Kept};
use crate::order::{self, Job, Report, finish};
use crate::plan::{names, solvers};
use crate::trouble::{Retry, Trouble};
use crate::{CertificateKey, Reason, State, Status, Wanted};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, watch};

/// Longest sleep: what others change in the store, and jumps of the clock, are seen after this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Pause after the store did not answer.
const STORE_PAUSE: Duration = Duration::from_secs(10);

/// One certificate and its task.
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<Cell>,
    pub(super) wanted: Wanted,
    /// Who waits for it, beside the board.
    pub(super) seen: watch::Sender<Option<Arc<Status>>>,
    /// To look at once.
    pub(super) look: Arc<Notify>,
    /// Whether a handshake asked for it: then it is allowed anew before each renewal.
    pub(super) is_on_demand: bool,
}

/// How an attempt ended.
enum Attempt {
    Issued,
    Failed,
    /// There will be no other one.
    Over,
}

impl Keeper {
    /// Keeps the certificate, for ever; ends only for one of a handshake that is not allowed any more. `is_changed`
    /// says that its issuer was just changed by a user, so that an old failure says nothing.
    pub(super) async fn keep(mut self, is_changed: bool) {
        match self.checked() {
            Ok(names) => self.wanted.names = names,
            Err(message) => {
                let retry_at = self.now() + LONGEST_SLEEP;
                self.show(None, State::Failed { reason: Reason::Name, message, retry_at });
                // Nothing changes before the wish does.
                return std::future::pending().await;
            }
        }
        let mut plan = Plan { forgives: is_changed, ..Plan::default() };
        while self.step(&mut plan).await {}
    }

    /// Looks, then waits or acts. False ends the task.
    async fn step(&self, plan: &mut Plan) -> bool {
        let view = match self.view(plan).await {
            Ok(view) => view,
            Err(trouble) => {
                self.wait_for_store(trouble).await;
                return true;
            }
        };
        if self.ask_window(&mut plan.window, &view).await {
            return true;
        }
        let at = view.at(self.now());
        if at > self.now() {
            self.rest(plan, &view, at).await;
            return true;
        }
        plan.forgives = false;
        match self.attempt(&view).await {
            Attempt::Issued => plan.ordered_at = Some(self.now()),
            Attempt::Failed => {}
            Attempt::Over => return false,
        }
        true
    }

    /// Until there is something to do.
    async fn rest(&self, plan: &Plan, view: &View, at: SystemTime) {
        self.show_rest(view, at);
        let until = plan.window.as_ref().map_or(at, |it| at.min(it.ask_at));
        // A window can be asked for as soon as there is an account.
        let can_ask = plan.window.is_none() && view.certificate.is_some() && view.due > self.now();
        tokio::select! {
            () = self.sleep(until) => {}
            () = self.has_account(), if can_ask => {}
        }
    }

    /// The names, sorted; or what is wrong with them for good.
    fn checked(&self) -> Result<Vec<String>, String> {
        let names = names::check_all(&self.wanted.names)?;
        names.iter().try_for_each(|name| solvers::for_name(&self.cell.issuer, name).map(drop))?;
        Ok(names)
    }

    pub(super) fn now(&self) -> SystemTime {
        self.shared.settings.clock.now()
    }

    /// Asks the authority for the renewal window when that is due. True when the view is to be taken again.
    async fn ask_window(&self, window: &mut Option<Window>, view: &View) -> bool {
        let Some(certificate) = view.certificate.as_ref().filter(|_| view.due > self.now()) else {
            return false;
        };
        let fingerprint = certificate.leaf.current().fingerprint;
        if window.as_ref().is_some_and(|it| it.holds(&fingerprint, self.now())) {
            return false;
        }
        let account = self.cell.account.borrow().clone();
        let Account::Ready(registered) = account else { return false };
        *window = Some(ari::ask(&self.shared, &registered, &certificate.leaf).await);
        true
    }

    /// Makes one attempt, as soon as there are an account and a place for it.
    async fn attempt(&self, view: &View) -> Attempt {
        let certificate = view.certificate.as_ref();
        let registered = self.account(certificate).await;
        let _hosts = self.shared.hosts.take(&self.wanted).await;
        self.waiting(certificate, Reason::Quota, "waiting for a place among the orders under way".to_owned());
        let Ok(_place) = self.shared.orders.acquire().await else { return Attempt::Over };
        if self.is_on_demand
            && !view.is_done
            && certificate.is_some()
            && !allow::again(&self.shared, self).await
        {
            return Attempt::Over;
        }
        let report = |reason, message| self.waiting(certificate, reason, message);
        let job = self.job(view, &registered, &report);
        let outcome = if view.is_done { self.tidy(&job).await } else { order::attempt(&job).await };
        let has_succeeded = outcome.is_ok();
        self.heed(outcome, &registered).await;
        if has_succeeded { Attempt::Issued } else { Attempt::Failed }
    }

    fn job<'a>(&'a self, view: &'a View, registered: &'a Registered, report: Report<'a>) -> Job<'a> {
        let leaf = view.certificate.as_ref().map(|it| &it.leaf);
        let replaced = view.certificate.as_ref().filter(|it| it.is_of(&self.cell.issuer));
        Job {
            store: &*self.shared.store,
            challenges: &*self.shared.challenges,
            settings: &self.shared.settings,
            owner: &self.shared.owner,
            issuer: &self.cell.issuer,
            registered,
            wanted: &self.wanted,
            seen: view.version.as_ref(),
            is_renewal: leaf.is_some_and(|it| it.names.iter().eq(&self.wanted.names)),
            replaces: replaced.and_then(|it| ari::replaces(registered, &it.leaf)),
            on_demand: self.cell.issuer.on_demand.as_ref().filter(|_| self.is_on_demand),
            report,
        }
    }

    async fn tidy(&self, job: &Job<'_>) -> Result<(), Trouble> {
        let mut kept = Kept::load(&*self.shared.store, &self.wanted.key).await?;
        finish::tidy(job, &mut kept).await
    }

    /// What the outcome means beyond the record.
    async fn heed(&self, outcome: Result<(), Trouble>, registered: &Registered) {
        let Err(trouble) = outcome else { return };
        if trouble.retry == Retry::Now {
            // The other engine gets on meanwhile.
            return tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (key, reason, error) = (&self.wanted.key, trouble.reason.as_str(), trouble.message);
        tracing::warn!(certificate = %key, reason, error, "the certificate could not be obtained");
        if trouble.retry == Retry::Account {
            self.cell.forget(registered);
        }
    }

    /// The account, when there is one.
    async fn account(&self, certificate: Option<&certificate::Kept>) -> Arc<Registered> {
        let mut account = self.cell.account.subscribe();
        loop {
            let name = &self.cell.issuer.name;
            let seen = account.borrow_and_update().clone();
            match seen {
                Account::Ready(registered) => return registered,
                Account::Registering => {
                    let text = format!("issuer {name} is being registered at its authority");
                    self.waiting(certificate, Reason::Issuer, text);
                }
                Account::NotReady { message, retry_at } => {
                    let message = format!("issuer {name} has no account: {message}");
                    let state = State::Waiting { reason: Reason::Issuer, message, until: Some(retry_at) };
                    self.show(certificate, state);
                }
            }
            // The sender is in the cell that is held here, so this only ends with news.
            let _ = account.changed().await;
        }
    }

    async fn has_account(&self) {
        // As above, this only ends with an account.
        let _ = self.cell.account.subscribe().wait_for(|it| matches!(it, Account::Ready(_))).await;
    }

    async fn wait_for_store(&self, trouble: Trouble) {
        let pause = if trouble.retry == Retry::Backoff { LONGEST_SLEEP } else { STORE_PAUSE };
        let (reason, message, retry_at) = (trouble.reason, trouble.message, self.now() + pause);
        tracing::warn!(certificate = %self.wanted.key, error = message, "the certificate can't be looked up");
        self.show(None, State::Failed { reason, message, retry_at });
        self.sleep(retry_at).await;
    }

    fn show_rest(&self, view: &View, at: SystemTime) {
        let certificate = view.certificate.as_ref();
        let failure = view.failure.as_ref().filter(|it| time(it.retry_at) >= at);
        let state = match failure {
            None => State::Valid { next_renewal: at },
            Some(it) if it.is_soft => {
                let (reason, message) = (record::reason(&it.reason), it.message.clone());
                State::Waiting { reason, message, until: Some(at) }
            }
            Some(it) => {
                let (reason, message) = (record::reason(&it.reason), it.message.clone());
                State::Failed { reason, message, retry_at: at }
            }
        };
        self.show(certificate, state);
    }

    fn waiting(&self, certificate: Option<&certificate::Kept>, reason: Reason, message: String) {
        self.show(certificate, State::Waiting { reason, message, until: None });
    }

    fn show(&self, certificate: Option<&certificate::Kept>, state: State) {
        let current = certificate.filter(|it| it.serves(&self.wanted.names, self.now()));
        let status = Arc::new(Status {
            issuer: self.wanted.issuer.clone(),
            names: self.wanted.names.clone(),
            current: current.map(|it| it.leaf.current()),
            state,
        });
        show(&self.shared.board, &self.seen, &self.wanted.key, status);
    }

    /// Until a time, or until somebody says that there is something to see.
    async fn sleep(&self, until: SystemTime) {
        let pause = until.duration_since(self.now()).unwrap_or_default().min(LONGEST_SLEEP);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.look.notified() => {}
        }
    }
}

pub(super) fn show(
    board: &Board,
    seen: &watch::Sender<Option<Arc<Status>>>,
    key: &CertificateKey,
    status: Arc<Status>,
) {
    let is_new = seen.send_if_modified(|it| {
        let is_new = it.as_ref() != Some(&status);
        *it = Some(status.clone());
        is_new
    });
    if is_new {
        board.status(key, Some(status));
    }
}

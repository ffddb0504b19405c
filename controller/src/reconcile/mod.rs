//! The reconciler: the one owner of the translator. It takes what happened, has it translated and hands out what
//! changed: the configuration to the data planes, statuses to the writer.
//!
//! There is no debounce: an idle reconciler acts on the first event at once, a busy one takes all that came meanwhile
//! together. Nothing goes out before every kind was listed once, so that a controller that starts never takes
//! anything away from a data plane that runs.

mod input;
mod unreadable;

pub use input::{Input, QUEUE, Question};

use crate::admin::{Metrics, Readiness};
use crate::status::{Wanted, Writer};
use crate::watch::Arrival;
use serde::Serialize;
use sluice_crds::{Kind, Object, ObjectRef};
use sluice_ir::{CertificateKey, Challenge, Delta, GatewayKey, Locality, Resource, ResourceKey, Snapshot};
use sluice_translate::{
    Change, GatewayPlan, Infrastructure, Issuance, Options, Orders, Problem, StapleStanding, Translator,
    Update, place_of_node,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use unreadable::Unreadables;

/// Most events that are taken together: bounds how long one translation keeps others waiting.
const MOST: usize = 4096;

/// Where results go, and how the data planes stand.
pub trait Outlets: Send + 'static {
    /// The configuration changed.
    fn publish(&mut self, delta: &Delta);
    /// Where a Kubernetes node is; `None`: it does not say, or is gone.
    fn place(&mut self, _node: &str, _place: Option<Locality>) {}
    /// What was published and planned is all there is.
    fn set_complete(&mut self);
    /// How the data planes of a Gateway stand.
    fn standing(&self, gateway: &GatewayKey) -> Standing;
    /// What a Gateway needs changed; `None`: nothing any more.
    fn want(&mut self, gateway: &ObjectRef, plan: Option<&GatewayPlan>);
    /// What issuers are to order has changed, or may have.
    fn order(&mut self, orders: &Orders);
}

/// How the data planes of a Gateway stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Some are connected, and all have acknowledged the newest listeners.
    pub is_programmed: bool,
    /// None has reported yet since this replica started.
    pub is_settling: bool,
}

/// See the module.
pub struct Reconciler<O> {
    translator: Translator,
    outlets: O,
    writer: Writer,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    /// Kinds that were not listed yet.
    awaited: BTreeSet<Kind>,
    is_complete: bool,
    leads: bool,
    unreadable: Unreadables,
    /// What the provisioner told of each Gateway; `programmed` is not its word.
    infrastructure: BTreeMap<ObjectRef, Infrastructure>,
    /// Gateways whose data planes nobody knows about yet.
    settling: BTreeSet<ObjectRef>,
}

/// What a batch of inputs comes to.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    /// Objects whose status on the server may have changed.
    seen: Vec<ObjectRef>,
    /// Gateways' acknowledgements must be looked at.
    sync: bool,
    /// Every status must be looked at.
    everything: bool,
    /// Every Gateway must be handed out again.
    tickets: bool,
    /// Certificates that must be handed out again.
    staples: BTreeSet<CertificateKey>,
    /// How the OCSP responses of all certificates stand.
    standings: Option<BTreeMap<CertificateKey, StapleStanding>>,
    questions: Vec<Question>,
    releases: Vec<Option<String>>,
    challenges: Option<Vec<Challenge>>,
    issuance: Option<Issuance>,
}

impl<O: Outlets> Reconciler<O> {
    /// Without any object.
    pub fn new(
        options: Options,
        outlets: O,
        writer: Writer,
        metrics: Arc<Metrics>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self {
            translator: Translator::new(options),
            outlets,
            writer,
            metrics,
            readiness,
            awaited: Kind::ALL.into_iter().collect(),
            is_complete: false,
            leads: false,
            unreadable: Unreadables::default(),
            infrastructure: BTreeMap::new(),
            settling: BTreeSet::new(),
        }
    }

    /// Works until the channel closes. Blocks its thread.
    pub fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        while let Some(first) = inputs.blocking_recv() {
            let mut inputs_now = vec![first];
            while inputs_now.len() < MOST
                && let Ok(next) = inputs.try_recv()
            {
                inputs_now.push(next);
            }
            self.step(inputs_now);
        }
    }

    /// Takes in what happened and hands out what came of it.
    fn step(&mut self, inputs: Vec<Input>) {
        let begun = Instant::now();
        let events = inputs.len();
        let mut batch = Batch::default();
        for input in inputs {
            self.take(input, &mut batch);
        }
        let mut update = self.translator.apply(std::mem::take(&mut batch.changes));
        if let Some(challenges) = batch.challenges.take() {
            add(&mut update, self.translator.challenges(challenges));
        }
        if let Some(issuance) = batch.issuance.take() {
            add(&mut update, self.translator.issuance(issuance));
        }
        if let Some(standings) = batch.standings.take() {
            add(&mut update, self.translator.staples(standings));
        }
        if let Some(release) = batch.releases.pop() {
            update.statuses.extend(self.translator.release(release).statuses);
        }
        if self.is_complete {
            self.hand_out(update, &mut batch);
        } else if self.awaited.is_empty() {
            self.complete();
        }
        self.metrics.translation(begun.elapsed(), events);
        for question in batch.questions {
            self.answer(question);
        }
    }

    fn take(&mut self, input: Input, batch: &mut Batch) {
        match input {
            Input::Arrival(arrival) => self.arrive(arrival, batch),
            Input::Release(release) => batch.releases.push(release),
            Input::Infrastructure(gateway, facts) => {
                batch.sync = true;
                self.infrastructure.insert(gateway, facts);
            }
            Input::Challenges(all) => batch.challenges = Some(all),
            Input::Issuance(now) => batch.issuance = Some(now),
            Input::SyncChanged => batch.sync = true,
            Input::TicketsChanged => batch.tickets = true,
            Input::Staples(news) => {
                batch.staples.extend(news.changed);
                batch.standings = Some(news.standings);
            }
            Input::Leader(leads) => {
                self.leads = leads;
                self.writer.set_active(leads);
                batch.everything = true;
            }
            Input::Ask(question) => batch.questions.push(question),
        }
    }

    fn arrive(&mut self, arrival: Arrival, batch: &mut Batch) {
        match arrival {
            Arrival::Upsert { object, seen } => {
                let reference = object.reference();
                if let Object::Node(node) = &object {
                    self.outlets.place(&reference.name, place_of_node(node));
                }
                self.unreadable.is_good(&reference);
                if let Some(seen) = seen {
                    self.writer.seen(&reference, seen);
                    batch.seen.push(reference);
                }
                batch.changes.push(Change::Upsert(object));
            }
            Arrival::Unreadable { reference, rest, seen, error } => {
                if let Some(seen) = seen {
                    self.writer.seen(&reference, seen);
                    batch.seen.push(reference.clone());
                }
                let change = self.unreadable.note(&reference, rest, error);
                batch.changes.extend(change);
            }
            Arrival::Remove(reference) => {
                self.unreadable.is_good(&reference);
                self.writer.gone(&reference);
                if reference.kind == Kind::Node {
                    self.outlets.place(&reference.name, None);
                }
                batch.changes.push(Change::Remove(reference));
            }
            Arrival::Listed(kind) => {
                self.awaited.remove(&kind);
            }
        }
        self.metrics.unreadable(self.unreadable.len());
    }

    /// Every kind was listed: the first configuration goes out whole.
    fn complete(&mut self) {
        self.is_complete = true;
        let snapshot = self.translator.snapshot();
        tracing::info!(
            gateways = snapshot.gateways.len(),
            routes = snapshot.routes.len() + snapshot.stream_routes.len(),
            backends = snapshot.backends.len(),
            "all objects are listed and translated"
        );
        self.outlets.publish(&Snapshot::default().delta_to(snapshot));
        for (gateway, plan) in self.translator.plans() {
            self.outlets.want(gateway, Some(plan));
        }
        self.order();
        self.outlets.set_complete();
        self.readiness.set_complete();
        self.count();
        self.look_at_data_planes();
        self.everything();
    }

    /// Configuration first, then what the data planes say of it, then the statuses, which tell both.
    fn hand_out(&mut self, update: Update, batch: &mut Batch) {
        let again = self.again(batch);
        if !again.is_empty() {
            self.outlets.publish(&again);
        }
        if !update.delta.is_empty() {
            self.outlets.publish(&update.delta);
            self.count();
        }
        if update.orders {
            self.order();
        }
        for gateway in &update.plans {
            let plan = self.translator.plan(gateway);
            self.outlets.want(gateway, plan);
            if plan.is_none() {
                self.infrastructure.remove(gateway);
            }
        }
        let mut objects: BTreeSet<ObjectRef> = update.statuses.into_iter().collect();
        if batch.sync || !update.plans.is_empty() || is_of_listeners(&update.delta) {
            objects.extend(self.look_at_data_planes());
        }
        if batch.everything {
            return self.everything();
        }
        objects.extend(std::mem::take(&mut batch.seen));
        self.write(objects);
    }

    /// What must be handed out again though no object changed.
    fn again(&self, batch: &Batch) -> Delta {
        let snapshot = self.translator.snapshot();
        let certificates = batch.staples.iter().filter_map(|key| snapshot.certificates.get(key));
        let mut upserts: Vec<_> = certificates.cloned().map(Resource::Certificate).collect();
        if batch.tickets {
            upserts.extend(snapshot.gateways.values().cloned().map(Resource::Gateway));
        }
        Delta { upserts, removals: Vec::new() }
    }

    fn order(&mut self) {
        self.outlets.order(&self.translator.orders());
    }

    /// Asks how the data planes stand and tells the translation; gives the objects whose status it changed.
    fn look_at_data_planes(&mut self) -> Vec<ObjectRef> {
        let mut facts = Vec::new();
        let was_settling = std::mem::take(&mut self.settling);
        for gateway in self.translator.plans().keys() {
            let key = GatewayKey::new(format!("{}/{}", gateway.namespace, gateway.name));
            let standing = self.outlets.standing(&key);
            if standing.is_settling {
                self.settling.insert(gateway.clone());
            }
            if let Some(known) = self.infrastructure.get(gateway) {
                let programmed = standing.is_programmed;
                facts.push((gateway.clone(), Infrastructure { programmed, ..known.clone() }));
            }
        }
        let mut objects = self.translator.infrastructure(facts).statuses;
        if was_settling != self.settling {
            // Statuses were held back for them.
            let of_listeners = |it: &&ObjectRef| matches!(it.kind, Kind::Gateway | Kind::ListenerSet);
            objects.extend(self.translator.statuses().keys().filter(of_listeners).cloned());
        }
        objects
    }

    /// Offers every status: those that are as they should be cost nothing more.
    fn everything(&mut self) {
        let mut objects: BTreeSet<ObjectRef> = self.writer.objects().into_iter().collect();
        objects.extend(self.translator.statuses().keys().cloned());
        self.write(objects);
    }

    fn write(&self, objects: impl IntoIterator<Item = ObjectRef>) {
        if !self.leads {
            return;
        }
        let statuses = self.translator.statuses();
        self.writer.want(objects.into_iter().map(|object| {
            let status = statuses.get(&object).cloned();
            let is_settling = match object.kind {
                Kind::ListenerSet => !self.settling.is_empty(),
                _ => self.settling.contains(&object),
            };
            Wanted { object, status, is_settling }
        }));
    }

    fn count(&self) {
        let snapshot = self.translator.snapshot();
        for (kind, count) in [
            ("gateway", snapshot.gateways.len()),
            ("listener", snapshot.listeners.len()),
            ("route", snapshot.routes.len()),
            ("stream_route", snapshot.stream_routes.len()),
            ("backend", snapshot.backends.len()),
            ("endpoint_set", snapshot.endpoint_sets.len()),
            ("certificate", snapshot.certificates.len()),
            ("challenge", snapshot.challenges.len()),
        ] {
            self.metrics.resources(kind, count);
        }
    }

    /// Nobody may wait for the answer any more, which is no error.
    fn answer(&self, question: Question) {
        match question {
            Question::Snapshot(answer) => drop(answer.send(json(self.translator.snapshot()))),
            Question::Problems(answer) => {
                let mut problems: Vec<Problem> = self.translator.problems();
                problems.extend(self.unreadable.problems());
                drop(answer.send(json(&problems)));
            }
        }
    }
}

/// Puts what came later to what came before.
fn add(update: &mut Update, later: Update) {
    update.delta.upserts.extend(later.delta.upserts);
    update.delta.removals.extend(later.delta.removals);
    update.statuses.extend(later.statuses);
    update.plans.extend(later.plans);
    update.orders |= later.orders;
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\": {:?}}}", error.to_string()))
}

/// Whether a delta has something that data planes acknowledge before a Gateway counts as programmed.
fn is_of_listeners(delta: &Delta) -> bool {
    let is = |key: &ResourceKey| {
        matches!(key, ResourceKey::Gateway(_) | ResourceKey::Listener(_) | ResourceKey::Certificate(_))
    };
    delta.upserts.iter().any(|it| is(&it.key())) || delta.removals.iter().any(is)
}

#[cfg(test)]
mod tests;

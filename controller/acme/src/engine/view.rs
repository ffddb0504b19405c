//! What the store has of a certificate, and when something is to be done about it.

use super::ari::{self, Window};
use super::keep::Keeper;
use crate::order::certificate::{self, Unusable};
use crate::order::finish;
use crate::order::record::{self, Kept, Record, Stage};
use crate::plan::renewal;
use crate::trouble::{Retry, Trouble};
use crate::{Item, Reason, Version};
use std::time::{Duration, SystemTime};

/// What decides about the next step beside the store.
#[derive(Default)]
pub(super) struct Plan {
    /// When the authority wants the renewal.
    pub(super) window: Option<Window>,
    /// When this engine got the certificate.
    pub(super) ordered_at: Option<SystemTime>,
    /// Whether an old failure says nothing, since a user changed the issuer.
    pub(super) forgives: bool,
}

/// What the store has.
pub(super) struct View {
    pub(super) certificate: Option<certificate::Kept>,
    /// Version of its record, if there is one.
    pub(super) version: Option<Version>,
    /// When something is to be done about it.
    pub(super) due: SystemTime,
    /// A failure that is still in force.
    pub(super) failure: Option<record::Failure>,
    /// An order is there whose certificate is stored already.
    pub(super) is_done: bool,
}

impl View {
    /// When to act: when it is due, and no failure is in the way.
    pub(super) fn at(&self, now: SystemTime) -> SystemTime {
        let blocked = self.failure.as_ref().map(|it| time(it.retry_at)).filter(|at| *at > now);
        blocked.map_or(self.due, |at| at.max(self.due))
    }
}

impl Keeper {
    /// Looks at what the store has.
    pub(super) async fn view(&self, plan: &Plan) -> Result<View, Trouble> {
        let (store, key) = (&*self.shared.store, &self.wanted.key);
        let entry = store.read(&Item::Certificate(key.clone())).await?;
        let version = entry.as_ref().map(|it| it.version.clone());
        let certificate = match entry.map(certificate::Kept::read) {
            None | Some(Err(Unusable::Broken)) => None,
            Some(Ok(certificate)) => Some(certificate),
            Some(Err(Unusable::Foreign)) => {
                return Err(Trouble::new(Reason::Secret, Retry::Backoff, finish::foreign(key.as_str())));
            }
        };
        let record = Kept::load(store, key).await?.record;
        let order = self.order(&record, certificate.as_ref());
        let due = if order == Order::None { self.renewal(certificate.as_ref(), plan) } else { self.now() };
        let failure = self.failure(&record).filter(|_| !plan.forgives);
        Ok(View { certificate, version, due, failure, is_done: order == Order::Done })
    }

    /// What the record says of an order for what is wanted.
    fn order(&self, record: &Record, certificate: Option<&certificate::Kept>) -> Order {
        let purpose = record::purpose(&self.cell.issuer, &self.wanted.names);
        match &record.key {
            Some(key) if record.stage != Stage::Idle && record.purpose == purpose => {
                let is_done = certificate.is_some_and(|it| it.has_key(key.expose()));
                if is_done { Order::Done } else { Order::UnderWay }
            }
            _ => Order::None,
        }
    }

    /// The last failure, if it was at what is wanted now.
    fn failure(&self, record: &Record) -> Option<record::Failure> {
        let purpose = record::purpose(&self.cell.issuer, &self.wanted.names);
        let manner = record::manner(&self.cell.issuer, &self.wanted.scope);
        record.failure.clone().filter(|_| record.manner == manner && record.purpose == purpose)
    }

    /// When the certificate is to be renewed: now, when it is not what is wanted.
    fn renewal(&self, certificate: Option<&certificate::Kept>, plan: &Plan) -> SystemTime {
        let now = self.now();
        let is_wanted =
            |it: &&certificate::Kept| it.serves(&self.wanted.names, now) && it.is_of(&self.cell.issuer);
        let Some(certificate) = certificate.filter(is_wanted) else { return now };
        let leaf = &certificate.leaf;
        let usual = renewal::two_thirds(leaf.not_before, leaf.not_after, self.wanted.key.as_str());
        ari::said(plan.window.as_ref(), leaf, plan.ordered_at).unwrap_or(usual)
    }
}

/// An order of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    UnderWay,
    /// Its certificate is stored already.
    Done,
}

pub(super) fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
}

//! Destinations that are asked for when somebody calls them: a bounded table of what the controller answered.
//!
//! In: names, from whoever has a connection to a destination that the configuration does not have, and answers, from the
//! stream. Out: one question a name, however many ask, and an answer in bounded time. Answers stay right by themselves: the
//! controller says anew what changes, for as long as a name is in the table.

use parking_lot::Mutex;
use sluice_ir::GatewayKey;
use sluice_xds::LONGEST_DESTINATION;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long one waits for an answer.
const WAIT: Duration = Duration::from_secs(5);
/// Names in the table. Beyond, the oldest that nobody has goes first, then the oldest of all.
const MOST: usize = 1024;

/// What the controller says of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This scope has it, and all that belongs to it is applied.
    Known(GatewayKey),
    /// Nobody in the mesh has it.
    Nobody,
    /// Not known: the controller is away, or does not answer.
    Unavailable,
}

/// See the module. A clone is the same.
#[derive(Clone, Default)]
pub struct OnDemand(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    /// Something is to be sent.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Box<str>, Entry>,
    last: u64,
    /// Names to be asked for, and names that are no longer wanted.
    asked: Vec<Box<str>>,
    left: Vec<Box<str>>,
    /// Whether the last stream has ended, and none has come since.
    is_away: bool,
}

struct Entry {
    answer: Option<Wanted>,
    /// The older, the smaller.
    age: u64,
    answered: Arc<Notify>,
}

impl OnDemand {
    /// Whether a destination (`IP:PORT`, or `HOST:PORT` in lower case) is known, found out in bounded time. Cancelling it
    /// leaves the question open, for others and for later.
    pub async fn want(&self, name: &str) -> Wanted {
        let answered = match self.look(name) {
            Ok(answer) => return answer,
            Err(answered) => answered,
        };
        let wait = async {
            loop {
                let notified = answered.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                match self.look(name) {
                    Ok(answer) => return answer,
                    // The entry is another one by now: its question is as good.
                    Err(_) => notified.await,
                }
            }
        };
        timeout(WAIT, wait).await.unwrap_or(Wanted::Unavailable)
    }

    /// What is known of a destination without asking.
    pub fn known(&self, name: &str) -> Option<Wanted> {
        self.0.table.lock().entries.get(name)?.answer.clone()
    }

    /// The answer, or what is rung when it comes.
    fn look(&self, name: &str) -> Result<Wanted, Arc<Notify>> {
        let mut table = self.0.table.lock();
        let is_away = table.is_away;
        if let Some(entry) = table.entries.get(name) {
            return match &entry.answer {
                Some(answer) => Ok(answer.clone()),
                None if is_away => Ok(Wanted::Unavailable),
                None => Err(entry.answered.clone()),
            };
        }
        if name.len() > LONGEST_DESTINATION {
            return Ok(Wanted::Nobody);
        }
        let answered = table.insert(name, None);
        table.asked.push(name.into());
        drop(table);
        self.0.changed.notify_one();
        if is_away { Ok(Wanted::Unavailable) } else { Err(answered) }
    }

    /// What an earlier process had.
    pub(super) fn restore(&self, known: impl IntoIterator<Item = (Box<str>, GatewayKey)>) {
        let mut table = self.0.table.lock();
        for (name, scope) in known {
            table.insert(&name, Some(Wanted::Known(scope)));
        }
    }

    /// Every name, for a stream that begins.
    pub(super) fn begin(&self) -> Vec<String> {
        let mut table = self.0.table.lock();
        table.asked.clear();
        table.left.clear();
        table.entries.keys().map(|name| name.to_string()).collect()
    }

    /// Waits until there is something to send, and gives it: names to ask for, names to leave. Cancelling it loses nothing.
    pub(super) async fn due(&self) -> (Vec<String>, Vec<String>) {
        loop {
            let notified = self.0.changed.notified();
            {
                let mut table = self.0.table.lock();
                let Table { entries, asked, left, .. } = &mut *table;
                if !asked.is_empty() || !left.is_empty() {
                    left.retain(|name| !entries.contains_key(name));
                    asked.retain(|name| entries.contains_key(name));
                    let text = |all: &mut Vec<Box<str>>| all.drain(..).map(String::from).collect();
                    return (text(asked), text(left));
                }
            }
            notified.await;
        }
    }

    /// Takes answers over; what belongs to them is applied.
    pub(super) fn answered(&self, answers: impl IntoIterator<Item = (String, Option<GatewayKey>)>) {
        let mut table = self.0.table.lock();
        table.is_away = false;
        for (name, scope) in answers {
            if let Some(entry) = table.entries.get_mut(name.as_str()) {
                entry.answer = Some(scope.map_or(Wanted::Nobody, Wanted::Known));
                entry.answered.notify_waiters();
            }
        }
    }

    /// The stream has ended: who waits need not wait any longer.
    pub(super) fn away(&self) {
        let mut table = self.0.table.lock();
        table.is_away = true;
        table.entries.values().for_each(|it| it.answered.notify_waiters());
    }

    /// What is known, for the disk, sorted.
    pub(super) fn all(&self) -> Vec<(Box<str>, GatewayKey)> {
        let table = self.0.table.lock();
        let known = table.entries.iter().filter_map(|(name, it)| match &it.answer {
            Some(Wanted::Known(scope)) => Some((name.clone(), scope.clone())),
            Some(Wanted::Nobody | Wanted::Unavailable) | None => None,
        });
        let mut all: Vec<_> = known.collect();
        all.sort_unstable();
        all
    }
}

impl Table {
    fn insert(&mut self, name: &str, answer: Option<Wanted>) -> Arc<Notify> {
        if self.entries.len() >= MOST {
            self.make_room();
        }
        self.last += 1;
        let answered = Arc::new(Notify::new());
        let entry = Entry { answer, age: self.last, answered: answered.clone() };
        self.entries.insert(name.into(), entry);
        answered
    }

    fn make_room(&mut self) {
        let rank = |it: &Entry| (it.answer != Some(Wanted::Nobody), it.age);
        let Some(name) = self.entries.iter().min_by_key(|(_, it)| rank(it)).map(|(name, _)| name.clone())
        else {
            return;
        };
        if let Some(gone) = self.entries.remove(&name) {
            gone.answered.notify_waiters();
        }
        self.left.push(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{MOST, OnDemand, Wanted};
    use sluice_ir::GatewayKey;

    fn scope() -> GatewayKey {
        GatewayKey::new("Mesh/Service/shop/cart")
    }

    #[tokio::test]
    async fn many_who_ask_are_one_question_and_get_one_answer() {
        let table = OnDemand::default();
        let ask = || {
            let table = table.clone();
            tokio::spawn(async move { table.want("10.96.0.1:80").await })
        };
        let asking = [ask(), ask(), ask()];
        let (asked, left) = table.due().await;
        assert_eq!((asked, left.len()), (vec!["10.96.0.1:80".to_owned()], 0));
        table.answered([("10.96.0.1:80".to_owned(), Some(scope()))]);
        for it in asking {
            assert_eq!(it.await.unwrap(), Wanted::Known(scope()));
        }
        table.answered([("10.96.0.1:80".to_owned(), None)]);
        assert_eq!(table.want("10.96.0.1:80").await, Wanted::Nobody, "corrected by the controller");
    }

    #[tokio::test]
    async fn nobody_waits_while_the_controller_is_away_and_what_was_asked_is_asked_later() {
        let table = OnDemand::default();
        table.away();
        assert_eq!(table.want("10.96.0.1:80").await, Wanted::Unavailable);
        assert_eq!(table.begin(), ["10.96.0.1:80"]);
        table.answered([("10.96.0.1:80".to_owned(), None)]);
        table.away();
        assert_eq!(table.want("10.96.0.1:80").await, Wanted::Nobody);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_without_an_answer_ends() {
        assert_eq!(OnDemand::default().want("10.96.0.1:80").await, Wanted::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_leaves_what_nobody_has_first() {
        let table = OnDemand::default();
        table.away();
        for number in 0..MOST {
            table.want(&format!("host-{number}:80")).await;
        }
        table.answered([("host-7:80".to_owned(), None), ("host-0:80".to_owned(), Some(scope()))]);
        table.away();
        table.due().await;
        table.want("one-more:80").await;
        assert_eq!(table.due().await, (vec!["one-more:80".to_owned()], vec!["host-7:80".to_owned()]));
        assert!(table.known("host-0:80").is_some());
    }
}

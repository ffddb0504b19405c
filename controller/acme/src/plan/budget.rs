//! Orders that were counted, and whether one more fits.

use super::names::registered_domain;
use crate::{Budgets, OnDemand};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// When orders were made, as milliseconds since 1970, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Ledger {
    account: Vec<u64>,
    domains: BTreeMap<String, Vec<u64>>,
    on_demand: Vec<u64>,
}

/// An order that asks for its place.
#[derive(Clone, Debug)]
pub(crate) struct Charge<'a> {
    /// Its names.
    pub(crate) names: &'a [String],
    /// Whether it renews a certificate of the same names.
    pub(crate) is_renewal: bool,
    /// Present when a handshake asked for it.
    pub(crate) on_demand: Option<&'a OnDemand>,
}

/// A budget is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) message: String,
    /// When there is room again.
    pub(crate) until: SystemTime,
}

impl Ledger {
    /// Counts the order, or says which budget has no room. Nothing is counted then.
    pub(crate) fn take(
        &mut self,
        charge: &Charge<'_>,
        budgets: &Budgets,
        now: SystemTime,
    ) -> Result<(), Exhausted> {
        self.forget(charge.on_demand, budgets, now);
        let account = ("orders of the account".to_owned(), budgets.per_account, budgets.account_window);
        room(&self.account, account, now)?;
        let domains = if charge.is_renewal { BTreeSet::new() } else { domains(charge.names) };
        for domain in &domains {
            let used = self.domains.get(*domain).map_or(&[][..], Vec::as_slice);
            room(
                used,
                (format!("certificates of {domain}"), budgets.per_domain, budgets.domain_window),
                now,
            )?;
        }
        if let Some(on_demand) = charge.on_demand {
            let limit = ("orders on demand".to_owned(), on_demand.per_window, on_demand.window);
            room(&self.on_demand, limit, now)?;
            self.on_demand.push(millis(now));
        }
        self.account.push(millis(now));
        for domain in domains {
            self.domains.entry(domain.to_owned()).or_default().push(millis(now));
        }
        Ok(())
    }

    /// Drops what no window holds any more, so that the record stays small.
    fn forget(&mut self, on_demand: Option<&OnDemand>, budgets: &Budgets, now: SystemTime) {
        let newer = |window: Duration| {
            let start = millis(now).saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
            move |at: &u64| *at > start
        };
        self.account.retain(newer(budgets.account_window));
        self.domains.values_mut().for_each(|it| it.retain(newer(budgets.domain_window)));
        self.domains.retain(|_, it| !it.is_empty());
        if let Some(on_demand) = on_demand {
            self.on_demand.retain(newer(on_demand.window));
        }
    }
}

fn domains(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(|name| registered_domain(name)).collect()
}

fn room(
    used: &[u64],
    (what, limit, window): (String, u32, Duration),
    now: SystemTime,
) -> Result<(), Exhausted> {
    let limit_len = usize::try_from(limit).unwrap_or(usize::MAX);
    if used.len() < limit_len {
        return Ok(());
    }
    // There is room when so many have left the window that one less than the limit is in it.
    let leaves = used.get(used.len() - limit_len).copied();
    let until = leaves.map_or(now + window, |at| SystemTime::UNIX_EPOCH + Duration::from_millis(at) + window);
    let message = format!("the budget of {limit} {what} within {} is used up", words(window));
    Err(Exhausted { message, until })
}

pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn words(window: Duration) -> String {
    match window.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(86_400) => format!("{} days", seconds / 86_400),
        seconds if seconds > 0 && seconds.is_multiple_of(3600) => format!("{} hours", seconds / 3600),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Charge, Ledger};
    use crate::{Budgets, OnDemand};
    use proptest::prelude::{prop, proptest};
    use std::time::{Duration, SystemTime};

    const HOUR: Duration = Duration::from_secs(3600);

    fn budgets() -> Budgets {
        Budgets { per_domain: 2, domain_window: HOUR * 24, per_account: 4, account_window: HOUR }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    fn charge(names: &[String]) -> Charge<'_> {
        Charge { names, is_renewal: false, on_demand: None }
    }

    #[test]
    fn each_registered_domain_has_its_own_budget_and_renewals_use_the_accounts_only() {
        let (mut ledger, now) = (Ledger::default(), SystemTime::UNIX_EPOCH + HOUR * 1000);
        let (a, b) = (names(&["x.example.com", "y.example.com"]), names(&["example.org"]));
        ledger.take(&charge(&a), &budgets(), now).unwrap();
        ledger.take(&charge(&a), &budgets(), now + HOUR / 2).unwrap();
        let full = ledger.take(&charge(&a), &budgets(), now + HOUR * 2).unwrap_err();
        assert_eq!(full.message, "the budget of 2 certificates of example.com within 1 days is used up");
        assert_eq!(full.until, now + HOUR * 24);
        ledger.take(&charge(&b), &budgets(), now + HOUR * 2).unwrap();
        let renewal = Charge { is_renewal: true, ..charge(&a) };
        for _ in 0..3 {
            ledger.take(&renewal, &budgets(), now + HOUR * 2).unwrap();
        }
        let full = ledger.take(&renewal, &budgets(), now + HOUR * 2).unwrap_err();
        assert_eq!(full.message, "the budget of 4 orders of the account within 1 hours is used up");
        assert_eq!(full.until, now + HOUR * 3);
        ledger.take(&charge(&a), &budgets(), now + HOUR * 24 + Duration::from_millis(1)).unwrap();
    }

    #[test]
    fn names_of_handshakes_have_a_budget_of_their_own() {
        let (mut ledger, now) = (Ledger::default(), SystemTime::UNIX_EPOCH + HOUR * 1000);
        let on_demand = OnDemand { per_window: 1, ..OnDemand::new("http://allow") };
        let (a, b) = (names(&["a.example.com"]), names(&["b.example.org"]));
        ledger.take(&Charge { on_demand: Some(&on_demand), ..charge(&a) }, &budgets(), now).unwrap();
        let full =
            ledger.take(&Charge { on_demand: Some(&on_demand), ..charge(&b) }, &budgets(), now).unwrap_err();
        assert!(full.message.contains("on demand"));
        ledger.take(&charge(&b), &budgets(), now).unwrap();
    }

    #[test]
    fn a_budget_of_zero_never_has_room() {
        let (mut ledger, now) = (Ledger::default(), SystemTime::UNIX_EPOCH + HOUR * 1000);
        let none = Budgets { per_account: 0, ..budgets() };
        let full = ledger.take(&charge(&names(&["a.example.com"])), &none, now).unwrap_err();
        assert_eq!(full.until, now + HOUR);
        assert_eq!(ledger, Ledger::default());
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_budget(pauses in prop::collection::vec(0_u64..3000, 1..200)) {
            let (mut ledger, mut now) = (Ledger::default(), SystemTime::UNIX_EPOCH + HOUR * 1000);
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_secs(pause);
                match ledger.take(&charge(&names(&["a.example.com"])), &budgets(), now) {
                    Ok(()) => taken.push(now),
                    // What it promises holds: then there is room, and not before.
                    Err(full) => {
                        let take = |at| ledger.clone().take(&charge(&names(&["a.example.com"])), &budgets(), at);
                        assert!(full.until > now && take(full.until - Duration::from_millis(1)).is_err());
                        let next = take(full.until);
                        assert!(next.is_ok() || next.is_err_and(|it| it.until > full.until));
                    }
                }
            }
            for (at, start) in taken.iter().enumerate() {
                let within = taken[at..].iter().filter(|it| **it < *start + HOUR * 24).count();
                assert!(within <= 2, "{within}");
            }
            assert!(serde_json::to_string(&ledger).unwrap().len() < 500);
        }
    }
}

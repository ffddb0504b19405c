//! What the Secret of the workloads' authority holds, and what it must hold when time goes on.
//!
//! Our own authority, unless the user brings one; and every root that a user's authority has led to, with the time from
//! which it has been trusted. A root that was replaced is trusted until it ends, since certificates below it may still be
//! in use; whoever wants it gone at once removes its key from the Secret.

use super::pem::{Certificate, joined};
use crate::ca::{CaError, DAY_S, Data, Kept, Profile, validity};
use k8s_openapi::ByteString;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Our own authority: as long-lived as Istio's own, and replaced as early.
pub(super) const OWN: Profile = Profile {
    name: "sluice mesh authority",
    life: Duration::from_secs(3650 * DAY_S),
    next_before: Duration::from_secs(730 * DAY_S),
};

/// The key of a root in the Secret: `trusted.SINCE.FINGERPRINT.crt`.
const PREFIX: &str = "trusted.";
const SUFFIX: &str = ".crt";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Ours.
    pub(super) own: Option<Kept>,
    /// Of users, by fingerprint.
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    since_s: u64,
    certificate: Certificate,
}

impl State {
    /// What the Secret must hold instead, if anything, when the user's authority has these roots; `None`: there is no
    /// user's authority. Repeated until nothing is left to do.
    pub(super) fn advanced(
        &self,
        brought: Option<&[Certificate]>,
        now: SystemTime,
    ) -> Result<Option<Self>, CaError> {
        let mut next = self.clone();
        match (&self.own, brought) {
            (None, None) => next.own = Some(Kept::generate(&OWN, now)?),
            (Some(own), None) => {
                if let Some(advanced) = own.advanced(&OWN, now)? {
                    next.own = Some(advanced);
                }
            }
            // It does not sign now, but what it signed may be in use until it ends.
            (Some(own), Some(_)) if own.current.not_after < now => next.own = None,
            (_, Some(_)) => {}
        }
        for certificate in brought.unwrap_or_default() {
            let seen = Seen { since_s: seconds(now), certificate: certificate.clone() };
            next.seen.entry(certificate.fingerprint()).or_insert(seen);
        }
        next.seen.retain(|_, seen| validity(&seen.certificate.pem).is_ok_and(|(_, end)| end >= now));
        Ok((next != *self).then_some(next))
    }

    /// All roots: those of the user first.
    pub(super) fn bundle(&self, brought: Option<&[Certificate]>) -> String {
        let brought = brought.unwrap_or_default();
        let mut bundle = joined(brought);
        if let Some(own) = &self.own {
            bundle.push_str(&own.bundle());
        }
        let before = self.seen.values().map(|it| &it.certificate).filter(|it| !brought.contains(it));
        bundle.push_str(&joined(before));
        bundle
    }

    /// Since when a root of a user, by its fingerprint, or our own has been trusted.
    pub(super) fn since(&self, root: &str) -> Option<SystemTime> {
        let seen = self.seen.get(root).map(|it| UNIX_EPOCH + Duration::from_secs(it.since_s));
        seen.or_else(|| self.own.as_ref().map(|it| it.current.not_before))
    }

    /// As the data of a Secret.
    pub(super) fn to_data(&self) -> Data {
        let mut data = self.own.as_ref().map(Kept::to_data).unwrap_or_default();
        for (fingerprint, seen) in &self.seen {
            let name = format!("{PREFIX}{}.{fingerprint}{SUFFIX}", seen.since_s);
            data.insert(name, ByteString(seen.certificate.pem.clone().into_bytes()));
        }
        data
    }

    /// From the data of a Secret.
    pub(super) fn from_data(data: &Data) -> Result<Self, CaError> {
        let own = match data.contains_key("tls.crt") || data.contains_key("tls.key") {
            true => Some(Kept::from_data(data)?),
            false => None,
        };
        let seen = data.iter().filter_map(|(name, bytes)| {
            let (since, _) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('.')?;
            let certificate = Certificate::all(&bytes.0).ok()?.into_iter().next()?;
            Some((certificate.fingerprint(), Seen { since_s: since.parse().ok()?, certificate }))
        });
        Ok(Self { own, seen: seen.collect() })
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{OWN, State};
    use crate::ca::{DAY_S, Profile, Root};
    use crate::identity::pem::Certificate;
    use std::time::{Duration, SystemTime};

    const DAY: Duration = Duration::from_secs(DAY_S);

    fn settled(mut state: State, brought: Option<&[Certificate]>, now: SystemTime) -> State {
        for _ in 0..5 {
            match state.advanced(brought, now).unwrap() {
                Some(next) => state = next,
                None => return state,
            }
        }
        panic!("it never settles");
    }

    fn root(life_days: u64, now: SystemTime) -> Certificate {
        let profile = Profile { life: DAY * u32::try_from(life_days).unwrap(), ..OWN };
        let root = Root::of(&profile, now).unwrap();
        Certificate::all(root.certificate.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn the_own_authority_is_made_when_nobody_brings_one_and_is_read_as_it_was_written() {
        let now = SystemTime::now();
        let state = settled(State::default(), None, now);
        assert!(state.own.is_some());
        assert_eq!(State::from_data(&state.to_data()).unwrap(), state);
        let brought = [root(30, now)];
        let with = settled(state.clone(), Some(&brought), now);
        assert_eq!(State::from_data(&with.to_data()).unwrap(), with);
        let alone = settled(State::default(), Some(&brought), now);
        assert!(alone.own.is_none() && alone.bundle(Some(&brought)) == brought[0].pem);
    }

    #[test]
    fn a_root_that_was_replaced_is_trusted_until_it_ends() {
        let now = SystemTime::now();
        let (one, two) = ([root(30, now)], [root(90, now)]);
        let state = settled(State::default(), None, now);
        let own = state.bundle(None);
        let state = settled(state, Some(&one), now);
        let state = settled(state, Some(&two), now + DAY);
        let bundle = state.bundle(Some(&two));
        assert!(bundle.starts_with(&two[0].pem) && bundle.contains(&one[0].pem) && bundle.contains(&own));
        assert_eq!(bundle.matches("BEGIN").count(), 3);
        let since = state.since(&two[0].fingerprint()).unwrap();
        assert!(since > now && since <= now + DAY);
        // Back to our own: both of the user's stay.
        assert_eq!(settled(state.clone(), None, now + DAY).bundle(None).matches("BEGIN").count(), 3);
        let state = settled(state, Some(&two), now + DAY * 31);
        assert!(!state.bundle(Some(&two)).contains(&one[0].pem));
        let state = settled(state, Some(&two), now + DAY * 3651);
        assert!(state.own.is_none(), "ours has ended too");
    }

    #[test]
    fn over_decades_no_own_root_signs_before_it_was_trusted_for_a_week() {
        let start = SystemTime::now();
        let mut state = State::default();
        let mut bundles: Vec<String> = Vec::new();
        for day in (0..40 * 365).step_by(5) {
            state = settled(state, None, start + DAY * day);
            let signs = state.own.as_ref().unwrap().current.certificate.clone();
            if let Some(before) = bundles.len().checked_sub(2) {
                assert!(bundles[before].contains(&signs), "day {day}");
            }
            bundles.push(state.bundle(None));
        }
        assert_ne!(bundles.first(), bundles.last());
    }
}

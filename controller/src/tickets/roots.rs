//! Which roots there are, and which there must be when time goes on.
//!
//! A root is known to everybody for a while before tickets are made with it, so that no replica meets one that it can't
//! open; it makes them for half a day, and opens them for a day more.

use aws_lc_rs::rand;
use k8s_openapi::ByteString;
use sluice_ir::SecretBytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a root.
const BYTES: usize = 32;
/// How long a root makes tickets.
pub(super) const TURN: Duration = Duration::from_secs(12 * 3600);
/// How long it is known before: twice the time in which every replica looks.
pub(super) const KNOWN_BEFORE: Duration = Duration::from_secs(20 * 60);
/// Roots whose turn is over and whose tickets still open.
const KEPT: usize = 2;

/// The roots by the time they were made, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(BTreeMap<u64, SecretBytes>);

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no randomness")]
pub(super) struct NoRandomness;

impl Roots {
    /// From the data of a Secret; what is no root is left out.
    pub(super) fn from_data(data: &BTreeMap<String, ByteString>) -> Self {
        let root = |(name, bytes): (&String, &ByteString)| {
            let made_s = name.parse().ok()?;
            (bytes.0.len() == BYTES).then(|| (made_s, SecretBytes::new(bytes.0.clone())))
        };
        Self(data.iter().filter_map(root).collect())
    }

    /// As the data of a Secret.
    pub(super) fn to_data(&self) -> BTreeMap<String, ByteString> {
        self.0.iter().map(|(made_s, root)| (made_s.to_string(), ByteString(root.expose().to_vec()))).collect()
    }

    /// What the Secret must hold instead, if anything.
    ///
    /// # Errors
    /// When a root is due and the system gives no randomness.
    pub(super) fn advanced(&self, now_s: u64) -> Result<Option<Self>, NoRandomness> {
        let mut roots = self.0.clone();
        // From a clock that is far ahead of this one: such a root would make tickets for who knows how long.
        roots.retain(|made_s, _| *made_s <= now_s + KNOWN_BEFORE.as_secs());
        if roots.last_key_value().is_none_or(|(made_s, _)| now_s.saturating_sub(*made_s) >= TURN.as_secs()) {
            roots.insert(now_s, generate()?);
        }
        let turn = Self::turn(&roots, now_s);
        let over: Vec<u64> = roots.range(..turn).map(|(made_s, _)| *made_s).collect();
        for made_s in over.iter().rev().skip(KEPT) {
            roots.remove(made_s);
        }
        Ok((roots != self.0).then_some(Self(roots)))
    }

    /// The roots in the order of their use: whose turn it is, then the others, the newest first.
    pub(super) fn in_order(&self, now_s: u64) -> Vec<SecretBytes> {
        let turn = Self::turn(&self.0, now_s);
        let others = self.0.iter().rev().filter(|(made_s, _)| **made_s != turn);
        self.0.get(&turn).into_iter().chain(others.map(|(_, root)| root)).cloned().collect()
    }

    /// The newest root that has been known for long enough; the oldest when there is none.
    fn turn(roots: &BTreeMap<u64, SecretBytes>, now_s: u64) -> u64 {
        let known = now_s.saturating_sub(KNOWN_BEFORE.as_secs());
        let newest = roots.range(..=known).next_back().or_else(|| roots.first_key_value());
        newest.map(|(made_s, _)| *made_s).unwrap_or_default()
    }
}

fn generate() -> Result<SecretBytes, NoRandomness> {
    let mut root = vec![0; BYTES];
    rand::fill(&mut root).map_err(|_| NoRandomness)?;
    Ok(SecretBytes::new(root))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{KNOWN_BEFORE, Roots, TURN};

    fn settled(roots: Roots, now_s: u64) -> Roots {
        let next = roots.advanced(now_s).unwrap().unwrap_or(roots);
        assert_eq!(next.advanced(now_s).unwrap(), None, "one step is enough");
        next
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_what_is_no_root_is_replaced() {
        let roots = settled(Roots::default(), 1000);
        assert_eq!(Roots::from_data(&roots.to_data()), roots);
        let mut data = roots.to_data();
        data.insert("tls.key".to_owned(), data["1000"].clone());
        data.insert("2000".to_owned(), k8s_openapi::ByteString(vec![1; 31]));
        assert_eq!(Roots::from_data(&data), roots);
        assert_eq!(settled(Roots::from_data(&Default::default()), 1000).0.len(), 1);
    }

    #[test]
    fn over_a_month_no_ticket_meets_a_replica_that_does_not_know_its_root_yet() {
        let look_s = 600;
        let mut roots = Roots::default();
        let mut before = Vec::new();
        for now_s in (0..30 * 86_400).step_by(look_s) {
            roots = settled(roots, now_s);
            let order = roots.in_order(now_s);
            assert!(order.len() <= 4, "{}", order.len());
            before.push(order.clone());
            // A replica that looked a moment before the others is one look behind.
            if let Some(behind) = before.len().checked_sub(2) {
                assert!(before[behind].contains(&order[0]), "at {now_s}");
                assert!(order.contains(&before[behind][0]), "at {now_s}");
            }
        }
        // A ticket of a day ago still opens, and one of two days ago does not.
        let now = before.last().unwrap();
        let ago = |seconds: u64| &before[before.len() - 1 - usize::try_from(seconds).unwrap() / look_s][0];
        assert!(now.contains(ago(24 * 3600)));
        assert!(!now.contains(ago(48 * 3600)));
        assert!(KNOWN_BEFORE < TURN);
    }

    #[test]
    fn a_root_of_a_clock_that_is_ahead_is_not_kept() {
        let mut roots = settled(Roots::default(), 1_000_000);
        let ahead = settled(Roots::default(), 9_000_000);
        roots.0.extend(ahead.0);
        let mended = settled(roots, 1_000_000);
        assert_eq!(mended.0.keys().collect::<Vec<_>>(), [&1_000_000]);
    }
}

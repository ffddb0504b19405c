//! What the Secret holds, and what it must hold when time goes on.
//!
//! A new authority is trusted for a week before it signs, and the old one for as long as it is valid, so that no data
//! plane ever meets a certificate that it does not know yet or no more.

use super::root::{CaError, Profile, Root, validity};
use super::store::Data;
use k8s_openapi::ByteString;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// It signs when it has been trusted for so long, or when the current one is about to end.
const TRUSTED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

const BUNDLE: &str = "ca.crt";
const CURRENT: (&str, &str) = ("tls.crt", "tls.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const OLD: &str = "old.crt";

/// The authorities of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Signs.
    pub(crate) current: Root,
    /// Trusted, will sign.
    next: Option<Root>,
    /// PEM; trusted, signed before.
    old: Option<String>,
}

impl Kept {
    /// With a new authority.
    pub(crate) fn generate(profile: &Profile, now: SystemTime) -> Result<Self, CaError> {
        Ok(Self { current: Root::of(profile, now)?, next: None, old: None })
    }

    /// What data planes are to trust.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|root| root.certificate.as_str());
        let mut bundle = String::new();
        for certificate in [Some(self.current.certificate.as_str()), next, self.old.as_deref()] {
            bundle.push_str(certificate.unwrap_or_default());
        }
        bundle
    }

    /// What the Secret must hold instead, if anything. Repeated until nothing is left to do.
    pub(crate) fn advanced(&self, profile: &Profile, now: SystemTime) -> Result<Option<Self>, CaError> {
        let left = self.current.not_after.duration_since(now).unwrap_or_default();
        if let Some(next) = &self.next {
            let trusted = now.duration_since(next.not_before).unwrap_or_default() > TRUSTED_FOR;
            if trusted || left < DAY {
                let old = Some(self.current.certificate.clone()).filter(|_| left > Duration::ZERO);
                return Ok(Some(Self { current: next.clone(), next: None, old }));
            }
        } else if left < profile.next_before {
            return Ok(Some(Self { next: Some(Root::of(profile, now)?), ..self.clone() }));
        }
        let old_ended = self.old.as_deref().is_some_and(|old| validity(old).is_ok_and(|(_, end)| end < now));
        Ok(old_ended.then(|| Self { old: None, ..self.clone() }))
    }

    /// As the data of a Secret.
    pub(crate) fn to_data(&self) -> Data {
        let mut data = Data::new();
        let mut put = |name: &str, text: &str| {
            data.insert(name.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        put(BUNDLE, &self.bundle());
        put(CURRENT.0, &self.current.certificate);
        put(CURRENT.1, &self.current.key);
        if let Some(next) = &self.next {
            put(NEXT.0, &next.certificate);
            put(NEXT.1, &next.key);
        }
        if let Some(old) = &self.old {
            put(OLD, old);
        }
        data
    }

    /// From the data of a Secret.
    pub(crate) fn from_data(data: &Data) -> Result<Self, CaError> {
        let text = |name: &str| {
            let bytes = data.get(name).map(|bytes| bytes.0.as_slice());
            bytes.and_then(|bytes| std::str::from_utf8(bytes).ok())
        };
        let root = |(certificate, key): (&str, &str)| match (text(certificate), text(key)) {
            (Some(certificate), Some(key)) => Root::read(certificate, key).map(Some),
            _ => Ok(None),
        };
        let current = root(CURRENT)?;
        let missing = || CaError::Read(format!("{} or {} is missing", CURRENT.0, CURRENT.1));
        let old = text(OLD).map(str::to_owned);
        if let Some(old) = &old {
            validity(old)?;
        }
        Ok(Self { current: current.ok_or_else(missing)?, next: root(NEXT)?, old })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{DAY, Kept};
    use crate::ca::root::CONTROLLER;
    use std::time::SystemTime;

    fn generate(now: SystemTime) -> Kept {
        Kept::generate(&CONTROLLER, now).unwrap()
    }

    fn settled(mut kept: Kept, now: SystemTime) -> Kept {
        for _ in 0..5 {
            match kept.advanced(&CONTROLLER, now).unwrap() {
                Some(next) => kept = next,
                None => return kept,
            }
        }
        panic!("it never settles");
    }

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let kept = generate(SystemTime::now());
        assert_eq!(Kept::from_data(&kept.to_data()).unwrap(), kept);
        let with_next = settled(kept, SystemTime::now() + DAY * 250);
        assert!(with_next.next.is_some());
        assert_eq!(Kept::from_data(&with_next.to_data()).unwrap(), with_next);
    }

    #[test]
    fn a_secret_without_a_matching_key_is_refused() {
        let (one, other) = (generate(SystemTime::now()), generate(SystemTime::now()));
        let mut data = one.to_data();
        data.insert("tls.key".to_owned(), other.to_data()["tls.key"].clone());
        let error = Kept::from_data(&data).unwrap_err().to_string();
        assert_eq!(error, "certificate and key don't belong together");
        data.remove("tls.key");
        assert!(Kept::from_data(&data).is_err());
    }

    #[test]
    fn over_the_years_no_signer_is_ever_unknown_to_who_read_the_bundle_a_week_before() {
        let start = SystemTime::now();
        let mut kept = generate(start);
        let mut bundles = Vec::new();
        for day in 0..1500_u32 {
            let now = start + DAY * day;
            kept = settled(kept, now);
            bundles.push(kept.bundle());
            assert!(kept.current.not_after > now + DAY * 100, "day {day}");
            let week_ago = &bundles[bundles.len().saturating_sub(7)];
            assert!(week_ago.contains(kept.current.certificate()), "day {day}");
            // What was signed a moment ago is still trusted by who reads the bundle now.
            if let Some(yesterday) = bundles.len().checked_sub(2) {
                let signer =
                    bundles[yesterday].split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
                assert!(kept.bundle().contains(signer), "day {day}");
            }
            assert!(kept.bundle().matches("BEGIN").count() <= 2);
        }
    }
}

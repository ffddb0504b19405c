//! Hosts being proven: two certificates with a common host are obtained one after the other, since a data plane holds
//! one TLS-ALPN-01 answer for a host.

use crate::plan::names::base;
use crate::{Scope, Wanted};
use parking_lot::Mutex;
use std::collections::HashSet;
use tokio::sync::Notify;

/// The hosts that are taken.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    taken: Mutex<HashSet<(Scope, String)>>,
    freed: Notify,
}

/// Holds hosts until it is dropped.
pub(super) struct Taken<'a> {
    hosts: &'a Hosts,
    names: Vec<(Scope, String)>,
}

impl Hosts {
    /// Takes all hosts of a certificate, when all of them are free.
    pub(super) async fn take(&self, wanted: &Wanted) -> Taken<'_> {
        let names = wanted.names.iter().map(|it| (wanted.scope.clone(), base(it).to_owned()));
        let names: Vec<_> = names.collect();
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // From here on a release is not missed.
            freed.as_mut().enable();
            if self.try_take(&names) {
                return Taken { hosts: self, names };
            }
            freed.await;
        }
    }

    fn try_take(&self, names: &[(Scope, String)]) -> bool {
        let mut taken = self.taken.lock();
        let is_free = !names.iter().any(|it| taken.contains(it));
        if is_free {
            taken.extend(names.iter().cloned());
        }
        is_free
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut taken = self.hosts.taken.lock();
        for name in &self.names {
            taken.remove(name);
        }
        drop(taken);
        self.hosts.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;
    use crate::{CertificateKey, IssuerName, Scope, Wanted};
    use futures::FutureExt as _;

    fn wanted(scope: &str, names: &[&str]) -> Wanted {
        Wanted {
            key: CertificateKey::new("a/b"),
            issuer: IssuerName::new("a/ca"),
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            scope: Scope::new(scope),
        }
    }

    #[tokio::test]
    async fn a_common_host_waits_and_others_pass() {
        let hosts = Hosts::default();
        let first = hosts.take(&wanted("g", &["a.example.com", "b.example.com"])).await;
        assert!(hosts.take(&wanted("g", &["*.b.example.com"])).now_or_never().is_none());
        assert!(hosts.take(&wanted("other", &["b.example.com"])).now_or_never().is_some());
        assert!(hosts.take(&wanted("g", &["c.example.com"])).now_or_never().is_some());
        drop(first);
        assert!(hosts.take(&wanted("g", &["*.b.example.com"])).now_or_never().is_some());
    }
}

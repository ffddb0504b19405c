//! The secrets by which replicas of a Gateway take each other's session tickets.
//!
//! One Secret of the controller's namespace holds a few random roots, made by whichever replica comes first and read by
//! all; from each every Gateway gets a secret of its own. `roots` says which roots there must be when, [`Keeper`] is
//! the only part that talks to the API server, and [`Tickets`] is what the others see.

mod keeper;
mod roots;

pub use keeper::{Keeper, SECRET, load};
pub use roots::Roots;

use aws_lc_rs::hmac;
use sluice_ir::{GatewayKey, SecretBytes};
use tokio::sync::watch;

/// The current roots, and what each Gateway gets of them.
#[derive(Clone, Debug)]
pub struct Tickets(watch::Receiver<Vec<SecretBytes>>);

impl Tickets {
    /// The Gateway's own secrets, in the order of the roots: the first makes tickets, all open them. No Gateway can
    /// tell another's from its own (HMAC-SHA256 as a key derivation, NIST SP 800-108).
    pub fn of(&self, gateway: &GatewayKey) -> Vec<SecretBytes> {
        let derived = |root: &SecretBytes| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, root.expose());
            let text = [b"sluice session tickets: ", gateway.as_str().as_bytes()].concat();
            SecretBytes::new(hmac::sign(&key, &text).as_ref().to_vec())
        };
        self.0.borrow().iter().map(derived).collect()
    }

    /// Waits until the roots are others; `false` when they never will be. Cancel safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Tickets;
    use sluice_ir::{GatewayKey, SecretBytes};
    use tokio::sync::watch;

    #[test]
    fn every_gateway_has_its_own_on_every_replica_the_same() {
        let roots = vec![SecretBytes::new(vec![1; 32]), SecretBytes::new(vec![2; 32])];
        let replica = || Tickets(watch::channel(roots.clone()).1);
        let (web, other) = (GatewayKey::new("shop/web"), GatewayKey::new("shop/other"));
        assert_eq!(replica().of(&web), replica().of(&web));
        let all = [replica().of(&web), replica().of(&other), roots.clone()].concat();
        for (place, secret) in all.iter().enumerate() {
            assert_eq!(secret.expose().len(), 32);
            assert!(!all[..place].contains(secret));
        }
    }
}

//! Session tickets (RFC 8446 §4.6.1, RFC 5077) under keys that all data planes of a Gateway share.
//!
//! A ticket is `name ‖ nonce ‖ ciphertext ‖ tag`: the name of its key (16 bytes), 12 random bytes, AES-256-GCM-SIV. That
//! AEAD keeps its promise also if a nonce comes twice, which replicas that know nothing of each other can't rule out.
//! What is asked of clients is bound in, so that a session opens only where the same is asked again. Where a Gateway
//! has no shared keys, as standalone, the process's own are used.

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use rustls::server::ProducesTickets;
use sluice_ir::SecretBytes;
use std::fmt;
use std::sync::Arc;

const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
/// Seconds that a client is told a ticket may be of use: the time for which a key makes tickets.
const LIFETIME_S: u32 = 12 * 60 * 60;

/// The shared keys of a Gateway; the first makes tickets, all open them.
#[derive(Debug, Default)]
pub(super) struct SharedKeys(ArcSwap<Vec<Arc<Key>>>);

struct Key {
    /// To see whether it is known already.
    secret: SecretBytes,
    name: [u8; NAME_BYTES],
    aead: RandomizedNonceKey,
}

impl Key {
    /// `None`: the library refuses the key, which it does to none of this length.
    fn derive(secret: &SecretBytes) -> Option<Self> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let name = hmac::sign(&root, b"sluice session tickets: name");
        let key = hmac::sign(&root, b"sluice session tickets: key");
        Some(Self {
            secret: secret.clone(),
            name: name.as_ref().get(..NAME_BYTES)?.try_into().ok()?,
            aead: RandomizedNonceKey::new(&AES_256_GCM_SIV, key.as_ref()).ok()?,
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.secret, f)
    }
}

impl SharedKeys {
    /// Takes over these secrets; keys that are known stay.
    pub(super) fn set(&self, secrets: &[SecretBytes]) {
        let before = self.0.load();
        if before.iter().map(|key| &key.secret).eq(secrets) {
            return;
        }
        let key = |secret: &SecretBytes| {
            let known = before.iter().find(|key| key.secret == *secret).cloned();
            known.or_else(|| Key::derive(secret).map(Arc::new))
        };
        self.0.store(Arc::new(secrets.iter().filter_map(key).collect()));
    }
}

/// Tickets of those who are asked the same.
pub(super) struct Tickets {
    shared: Arc<SharedKeys>,
    own: Arc<dyn ProducesTickets>,
    asked: Vec<u8>,
}

impl Tickets {
    /// `own` serves where there are no shared keys; `asked` is what is asked of clients.
    pub(super) fn new(shared: Arc<SharedKeys>, own: Arc<dyn ProducesTickets>, asked: Vec<u8>) -> Self {
        Self { shared, own, asked }
    }

    fn bound_to(&self, name: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([name, &self.asked].concat())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.shared.0.load();
        let Some(key) = keys.first() else { return self.own.encrypt(plain) };
        let mut sealed = plain.to_vec();
        let nonce = key.aead.seal_in_place_append_tag(self.bound_to(&key.name), &mut sealed).ok()?;
        Some([&key.name[..], nonce.as_ref(), &sealed].concat())
    }

    /// Whatever a client sends; what does not open means a full handshake.
    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = self.shared.0.load();
        // Names are no secret: they stand in every ticket.
        let named = keys.iter().find(|key| ticket.starts_with(&key.name));
        let Some(key) = named else { return self.own.decrypt(ticket) };
        let (nonce, sealed) = ticket.get(NAME_BYTES..)?.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let length = key.aead.open_in_place(nonce, self.bound_to(&key.name), &mut opened).ok()?.len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{NAME_BYTES, SharedKeys, Tickets};
    use rustls::crypto::aws_lc_rs::Ticketer;
    use rustls::server::ProducesTickets;
    use sluice_ir::SecretBytes;
    use std::sync::Arc;

    fn tickets(secrets: &[u8], asked: &[u8]) -> Tickets {
        let shared = Arc::new(SharedKeys::default());
        shared.set(&secrets.iter().map(|byte| SecretBytes::new(vec![*byte; 32])).collect::<Vec<_>>());
        Tickets::new(shared, Ticketer::new().unwrap(), asked.to_vec())
    }

    #[test]
    fn another_replica_opens_a_ticket_also_of_keys_before_and_after() {
        let one = tickets(&[1, 2], b"same");
        let ticket = one.encrypt(b"a session").unwrap();
        for keys in [&[1][..], &[1, 2], &[3, 2, 1], &[2, 1]] {
            assert_eq!(tickets(keys, b"same").decrypt(&ticket).unwrap(), b"a session", "{keys:?}");
        }
        assert_ne!(one.encrypt(b"a session").unwrap(), ticket, "each has its own nonce");
    }

    #[test]
    fn a_ticket_opens_to_nobody_else() {
        let ticket = tickets(&[1], b"same").encrypt(b"a session").unwrap();
        for (keys, asked) in [(&[2, 3][..], &b"same"[..]), (&[1], b"other"), (&[1], b""), (&[], b"same")] {
            assert!(tickets(keys, asked).decrypt(&ticket).is_none(), "{keys:?}");
        }
    }

    #[test]
    fn a_ticket_that_was_touched_does_not_open() {
        let one = tickets(&[1], b"same");
        let ticket = one.encrypt(b"a session").unwrap();
        for length in 0..ticket.len() {
            assert!(one.decrypt(&ticket[..length]).is_none(), "{length}");
            let mut touched = ticket.clone();
            touched[length] ^= 1;
            assert!(one.decrypt(&touched).is_none(), "byte {length}");
        }
        assert!(one.decrypt(&[ticket.clone(), vec![0]].concat()).is_none());
    }

    #[test]
    fn without_shared_keys_the_process_has_its_own_and_keeps_taking_their_tickets() {
        let alone = tickets(&[], b"same");
        let ticket = alone.encrypt(b"a session").unwrap();
        alone.shared.set(&[SecretBytes::new(vec![1; 32])]);
        assert_eq!(alone.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(&alone.encrypt(b"x").unwrap()[..NAME_BYTES], alone.shared.0.load()[0].name);
    }

    #[test]
    fn no_key_prints() {
        let shown = format!("{:?}", tickets(&[1], b"same"));
        assert!(shown.contains("sha256:") && !shown.contains("1, 1"), "{shown}");
    }
}

//! What a policy's Secrets hold, in the place of their names. They are of the policy's own namespace, so that nobody can
//! have another's password used, and no grant needs to be asked for.
//!
//! What can't be read leaves the setting as it is and says so in it: requests then meet what the policy says of a server
//! that can't be reached.

use crate::authorities;
use crate::gateway::load_pair;
use crate::model::{SecretModel, TrafficModel};
use crate::view::View;
use sluice_crds::{Kind, Name, ObjectRef};
use sluice_ir::{Certificate, Given, Password, RateServer, SecretBytes, TrafficSettings, Trust};
use std::sync::Arc;

/// Longest user name or password.
const LONGEST: usize = 1_024;

/// A reference that gives nothing.
pub(super) struct Unresolved {
    /// Below `spec`.
    pub(super) field: &'static str,
    pub(super) message: String,
    pub(super) next_step: &'static str,
}

/// Whether the policy names Secrets that count.
pub(super) fn has_references(policy: &TrafficModel) -> bool {
    let secrets = &policy.rate_server;
    server_of(&policy.settings).is_some() && (secrets.credentials.is_some() || secrets.tls.is_some())
}

/// The settings of a policy, with what its Secrets hold.
pub(super) fn fill_in(
    view: &View<'_>,
    policy: &TrafficModel,
    mut settings: TrafficSettings,
) -> TrafficSettings {
    if !has_references(policy) {
        return settings;
    }
    if let Some(given) = &settings.rate_limit {
        let mut value = given.value.clone();
        if let Some(global) = &mut value.global
            && let Err(unresolved) = fill(view, policy, &mut global.server)
        {
            global.server.fail = Some(unresolved.message);
        }
        settings.rate_limit = Some(Arc::new(Given { policy: given.policy.clone(), value }));
    }
    settings
}

/// The first reference of the policy that gives nothing.
pub(super) fn unresolved(view: &View<'_>, policy: &TrafficModel) -> Option<Unresolved> {
    let mut server = server_of(&policy.settings)?.clone();
    fill(view, policy, &mut server).err()
}

fn server_of(settings: &TrafficSettings) -> Option<&RateServer> {
    Some(&settings.rate_limit.as_ref()?.value.global.as_ref()?.server)
}

fn fill(view: &View<'_>, policy: &TrafficModel, server: &mut RateServer) -> Result<(), Unresolved> {
    let field = "rateLimit.global.redis.credentialsRef";
    if let Some(name) = &policy.rate_server.credentials {
        let (reference, secret) = secret(view, policy, name, field)?;
        let fail = |what: &str| Unresolved {
            field,
            message: format!("{} {what}", named(&reference)),
            next_step: "put the password into the key password, and the user, if there is one, into username",
        };
        let of = |key: &str| secret.keys.get(key).filter(|it| !it.is_empty());
        let password = of("password").ok_or_else(|| fail("has no key password"))?;
        let username = of("username").map(|it| String::from_utf8(it.clone())).transpose();
        server.username = username.map_err(|_| fail("has a username that is no text"))?;
        if password.len() > LONGEST || server.username.as_ref().is_some_and(|it| it.len() > LONGEST) {
            return Err(fail("has a username or password above 1024 bytes"));
        }
        server.password = Some(Password::new(password.as_slice()));
    }
    let field = "rateLimit.global.redis.tls.secretRef";
    if let (Some(name), Some(tls)) = (&policy.rate_server.tls, &mut server.tls) {
        let (reference, secret) = secret(view, policy, name, field)?;
        let fail = |what: &str| Unresolved {
            field,
            message: format!("{} {what}", named(&reference)),
            next_step: "put PEM into ca.crt (authorities), or into tls.crt and tls.key (a certificate of ours)",
        };
        if let Some(pem) = &secret.authorities {
            authorities::check(pem).map_err(fail)?;
            tls.trust = Trust::Bundle(SecretBytes::new(pem.clone()));
        }
        if secret.chain.is_some() || secret.private_key.is_some() {
            let loaded = load_pair(&reference, secret.chain.as_ref(), secret.private_key.as_ref());
            let loaded = loaded.map_err(fail)?;
            tls.certificate = Some(Box::new(Certificate::clone(&loaded.certificate)));
        } else if secret.authorities.is_none() {
            return Err(fail("has neither ca.crt nor tls.crt"));
        }
    }
    Ok(())
}

fn secret<'a>(
    view: &View<'a>,
    policy: &TrafficModel,
    name: &Name,
    field: &'static str,
) -> Result<(ObjectRef, &'a Arc<SecretModel>), Unresolved> {
    let namespace = policy.meta.reference.namespace.clone();
    let reference = ObjectRef::new(Kind::Secret, namespace, name.clone());
    match view.secret(&reference) {
        Some(secret) => Ok((reference, secret)),
        // A controller does not watch the types that hold passwords of other uses.
        None => Err(Unresolved {
            field,
            message: format!("{} not found", named(&reference)),
            next_step: "create it in the policy's namespace, with type Opaque or kubernetes.io/tls",
        }),
    }
}

fn named(it: &ObjectRef) -> String {
    format!("Secret \"{}/{}\"", it.namespace, it.name)
}

//! The authority of workloads: who they are, in certificates (SPIFFE, X509-SVID).
//!
//! In: Secrets, the mesh's configuration and calls of `CreateCertificate`. Out: certificates whose one name is
//! `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT` of whoever asks, and the roots in a ConfigMap of each
//! namespace. It decides nothing about what an identity may do.
//!
//! The authority is our own, kept in the Secret `sluice-mesh-ca`, unless the user brings one in the Secret `cacerts`.
//! `brought` and `kept` read the two, `signer` signs, `csr` takes keys, all without I/O; [`Keeper`] follows the Secrets,
//! [`Issuer`] answers calls, [`distribute()`] writes ConfigMaps. It is made of the parts of [`ca`](crate::ca), which is
//! another authority: that one vouches for the controller and signs for nobody else.

mod authority;
mod brought;
mod csr;
mod distribute;
mod domains;
mod kept;
mod pem;
mod service;
mod signer;

pub use authority::{Authority, AuthorityOptions, BROUGHT, Current, Keeper, SECRET};
pub use distribute::{CONFIG_MAP, CONTROLLER, Distribution, ROOTS, distribute};
pub use domains::Domains;
pub use service::Issuer;
pub(crate) use service::Service;

#[cfg(test)]
mod tests;

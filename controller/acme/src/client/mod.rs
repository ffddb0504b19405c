//! Talking to the authority: HTTP, signed requests of the account, and what its errors mean.

pub(crate) mod account;
pub(crate) mod directory;
pub(crate) mod fetch;
pub(crate) mod jws;
pub(crate) mod orders;
pub(crate) mod problem;
pub(crate) mod wire;

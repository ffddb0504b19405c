//! DNS: the resolver for names, questions to single servers, and TXT records in zones.

pub(crate) mod ask;
pub(crate) mod propagation;
pub(crate) mod resolver;
pub(crate) mod rfc2136;
pub(crate) mod txt;
pub(crate) mod webhook;

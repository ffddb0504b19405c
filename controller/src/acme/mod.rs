//! Certificates from ACME authorities: what joins the translation, the engine (`sluice-acme`) and the data planes.
//!
//! In: issuers and wanted certificates from the translation. Out: challenges for the data planes, what came of orders for
//! statuses, and certificates in Secrets, which come back by the watch like any other. The replica that holds the lease
//! runs the engine; every replica hands challenges to its data planes. `on_demand` finds what a name of a handshake stands
//! for. `convert` and `report` know nothing of a cluster:
//! `sluice run` uses them too.

mod certificate;
mod challenges;
mod convert;
mod leader;
mod names;
mod on_demand;
mod report;
mod secrets;
mod watch;

pub use certificate::{certificate, is_on_demand};
pub use convert::{challenges, issuance, key_of, secret_of, wanted_set, withdrawn};
pub use on_demand::{NoCertificate, Offers};
pub use report::{Row, rows};

pub(crate) use leader::{AcmeOptions, run};
pub(crate) use names::SECRET_TYPE;
pub(crate) use watch::watch as watch_challenges;

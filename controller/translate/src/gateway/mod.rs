//! Gateways with their classes, ListenerSets, listeners, certificates and parameters.
//!
//! `compute` puts one Gateway together from the others; `render` adds what only routes and the data plane know and
//! makes the statuses.

mod backend_certificate;
mod certificate;
mod claims;
mod class;
mod clients;
mod compute;
mod conflicts;
mod features;
mod issuer;
mod listener;
mod overlaps;
mod parameters;
mod plan;
mod protocol;
mod render;
mod sets;
mod staple;
mod tls_options;
mod workload;

pub(crate) use certificate::{CertificateOutcome, compute as certificate, pair as load_pair};
pub(crate) use claims::{Lost, compute as claims};
pub(crate) use class::{Verdict, status as class_status, verdict as class_verdict};
pub(crate) use compute::{GatewayOutput, compute, secrets};
pub use features::FEATURES;
pub(crate) use issuer::{ISSUER, Order, on_demand_key};
pub(crate) use listener::{Offer, Parent};
pub use plan::{
    AddressProblem, AddressReason, Amount, Autoscaling, Disruption, GatewayPlan, Infrastructure, Management,
    PlannedPort, ServicePlan, Workload,
};
pub(crate) use render::{Facts, render};
pub(crate) use sets::orphan_problems;
pub use staple::{StapleReason, StapleStanding};

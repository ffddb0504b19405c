//! CertificateIssuers: from the object to what an ACME engine needs, who may use one, and how one stands.
//!
//! Nothing is ordered here. What listeners want ordered comes from `gateway`; what came of it is told from outside as
//! [`Issuance`] and changes statuses only.

mod allow;
mod judge;
mod plan;

pub(crate) use allow::DomainRule;
pub(crate) use judge::{IssuerOutcome, judge, status};
pub use plan::{
    AccountPlan, BudgetPlan, CertificateStanding, Issuance, IssuerPlan, IssuerStanding, OnDemandListener,
    OnDemandPlan, Orders, PreflightPlan, Rfc2136Plan, SolverPlan, SolverWay, WaitingFor, WantedCertificate,
    WebhookPlan,
};

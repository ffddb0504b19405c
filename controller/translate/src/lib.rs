//! Translates Kubernetes objects into the IR and into the statuses that the objects get.
//!
//! Comes in: [`Change`]s, in any order. Goes out: an [`ir::Delta`](sluice_ir::Delta) for the data plane, the
//! `status` of every object that has one, and [`Problem`]s in words for people. What is deliberately absent: I/O,
//! clock, randomness, async. The same objects give the same result, whatever order they came in.
//!
//! The way through: `store` keeps the objects in our own terms (`model`); a change marks the computations that read
//! what it touched (`reads`); `translator` runs those, in the order certificate, backend, authorization, gateway, route,
//! policy, traffic policy, endpoints; `output` compares what they made with what was there.

mod authentication;
mod authorities;
mod authorization;
mod backend;
mod destination;
mod egress;
mod entry;
mod ext_auth;
mod gateway;
mod health;
mod issuer;
mod mesh;
mod mesh_config;
mod model;
mod output;
mod policy;
mod problem;
mod reads;
mod route;
mod shared;
mod status;
mod store;
mod syntax;
mod targets;
mod telemetry;
mod traffic;
mod translator;
mod values;
mod view;

pub use gateway::{
    AddressProblem, AddressReason, Amount, Autoscaling, Disruption, FEATURES, GatewayPlan, Infrastructure,
    Management, PlannedPort, ServicePlan, StapleReason, StapleStanding, Workload,
};
pub use issuer::{
    AccountPlan, BudgetPlan, CertificateStanding, Issuance, IssuerPlan, IssuerStanding, OnDemandListener,
    OnDemandPlan, Orders, PreflightPlan, Rfc2136Plan, SolverPlan, SolverWay, WaitingFor, WantedCertificate,
    WebhookPlan,
};
pub use mesh_config::{
    AuthorizerBodyConfig, DefaultProvidersConfig, ExtensionProvider, FileLogConfig, GrpcAuthorizerConfig,
    HttpAuthorizerConfig, HttpExportConfig, MeshConfig, OpenTelemetryConfig, PathNormalizationConfig,
    ProxyConfig, ProxyTracingConfig,
};
pub use model::{Transport, place_of_node};
pub use problem::{Problem, Severity};
pub use status::{
    Condition, ConditionStatus, DestinationStatus, EntryAddress, EntryStatus, Feature, GatewayAddress,
    GatewayClassStatus, GatewayStatus, IssuerStatus, ListenerSetStatus, ListenerStatus, ParentRef,
    PolicyAncestorStatus, PolicyStatus, RouteGroupKind, RouteParentStatus, RouteStatus, Status,
};
pub use translator::{Change, Options, Translator, Unreadable, Update, translate};

//! The data plane beside one workload.
//!
//! The proxy core does the work; what is here is what a pod needs around it: rules of the kernel that bring the
//! workload's connections to the proxy ([`capture`]), answers to its questions of names ([`dns`]), its probes and metrics
//! ([`status`]), and a life that begins before the workload's and ends after it ([`life`]). [`run`] puts them together. It
//! knows no Kubernetes type: what it needs to know of its pod it reads from variables and files ([`pod`]).

pub mod capture;
pub mod dns;
pub mod life;
pub mod orders;
pub mod pod;
pub mod resolv_conf;
pub mod run;
pub mod status;

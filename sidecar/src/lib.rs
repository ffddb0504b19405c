//! The data plane beside one workload.
//!
//! The proxy core does the work; what is here is what a pod needs around it: rules of the kernel that bring the
//! workload's connections to the proxy ([`capture`]), and answers to its questions of names ([`dns`]). It knows no Kubernetes type: what it needs to know of its pod it
//! reads from variables and files.

pub mod capture;
pub mod dns;
pub mod resolv_conf;

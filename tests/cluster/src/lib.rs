//! A Kubernetes cluster for tests, as real as a test can have it: etcd, kube-apiserver and kube-controller-manager as
//! processes, in a network namespace of their own.
//!
//! [`shared`] gives a test a [`Space`], which is a namespace of the cluster that all tests of a test binary share;
//! [`own`] gives it a whole cluster, to stop the API server of. Inside both, every socket that the test opens is in the
//! cluster's network: API server, pods and Services are reached at their addresses. Nothing of it is visible on the
//! machine, and all of it ends with the test process, also when that is killed.
//!
//! A helper that meets a surprise panics, so that the test which asked fails with the reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod assets;
mod authority;
mod certificates;
mod cluster;
mod directory;
mod hosts;
mod install;
mod installed;
mod istio;
mod kubelet;
mod network;
mod servers;
mod services;
mod space;
mod wait;

pub use assets::Assets;
pub use authority::Authority;
pub use cluster::Cluster;
pub use install::Channel;
pub use installed::SYSTEM;
pub use network::{API_SERVER, BACKENDS, HOST, Network};
pub use nix::sys::signal::Signal;
pub use space::{Space, own, shared};
pub use wait::{DEADLINE, eventually};

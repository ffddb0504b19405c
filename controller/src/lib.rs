//! The control plane on Kubernetes: watches objects, translates them, writes statuses, provisions gateways and
//! streams deltas to them.

pub mod names;

//! Tests of the controller against a real Kubernetes API server.

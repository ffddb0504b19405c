//! Endpoints: choice, health, load, DNS, session persistence, and the client for mirrored requests.

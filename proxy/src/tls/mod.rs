//! TLS termination: certificates by SNI, one `ServerConfig` per listener.

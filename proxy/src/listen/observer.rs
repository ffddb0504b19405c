//! Who is told what happens on ports: metrics and the access log implement it.

use super::ConnInfo;
use crate::telemetry::Outcome;
use std::net::SocketAddr;

/// Told of everything that ends before a request reaches the application. Called on the connection's task: must not
/// block.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted on the port.
    fn opened(&self, port: SocketAddr);
    /// A connection that was accepted is gone.
    fn closed(&self, port: SocketAddr);
    /// A connection or request was refused.
    fn refused(&self, refused: &Refused<'_>);
    /// A TLS handshake failed.
    fn tls_failed(&self, port: SocketAddr, peer: SocketAddr, reason: &str);
    /// A task of a connection or request panicked; only it ended.
    fn panicked(&self, port: SocketAddr);
}

/// A connection or request that never reached the application.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The port as wanted.
    pub port: SocketAddr,
    /// The client, as far as it is known.
    pub peer: SocketAddr,
    /// The connection was accepted over TLS.
    pub tls: bool,
    /// How it ended; the status of the answer, where one could be given.
    pub outcome: Outcome,
    /// What was wrong: the text of the answer.
    pub reason: &'a str,
    /// Server name of a ClientHello that nobody takes.
    pub server_name: Option<&'a str>,
    /// The request line as far as it was received, at most 256 bytes, unchecked; empty where it is not known. `None`: it is no
    /// request but a connection.
    pub head: Option<&'a [u8]>,
    /// The connection, where it was established.
    pub connection: Option<&'a ConnInfo>,
}

/// Hears nothing.
impl Observer for () {
    fn opened(&self, _port: SocketAddr) {}
    fn closed(&self, _port: SocketAddr) {}
    fn refused(&self, _refused: &Refused<'_>) {}
    fn tls_failed(&self, _port: SocketAddr, _peer: SocketAddr, _reason: &str) {}
    fn panicked(&self, _port: SocketAddr) {}
}

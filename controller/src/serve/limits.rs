//! Every bound of the server by name.

use std::time::Duration;

/// Connections at a time when the options name no other number.
pub(super) const CONNECTIONS: usize = 4096;
/// Total time of a TLS handshake.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Time to find out whose a token is.
pub(super) const AUTHENTICATION_TIME: Duration = Duration::from_secs(10);
/// Total time until a data plane has said who it is and what it has.
pub(super) const HELLO_TIME: Duration = Duration::from_secs(10);
/// Time for a data plane to take one response.
pub(super) const SEND_TIME: Duration = Duration::from_secs(30);
/// Time for a data plane to apply a batch and say so.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How often the token of an open stream is checked again.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(300);
/// Longest life of a stream: its data plane comes again and goes on where it was.
pub(super) const STREAM_TIME: Duration = Duration::from_secs(24 * 3600);
/// Responses of one stream that wait for the connection.
pub(super) const RESPONSES_ON_THE_WAY: usize = 2;
/// Bytes of resources after which a response is full; one resource may be larger.
pub(super) const RESPONSE_BYTES: usize = 256 * 1024;
/// Resources of one response.
pub(super) const RESPONSE_RESOURCES: usize = 1000;
/// Removals of one response.
pub(super) const RESPONSE_REMOVALS: usize = 10_000;
/// Bytes of one request: the first of a kind names everything that the data plane has.
pub(super) const REQUEST_BYTES: usize = 16 * 1024 * 1024;
/// Destinations that one data plane asks for at a time.
pub(super) const DESTINATIONS: usize = 4096;
/// Bytes of what another replica tells.
pub(super) const PEER_BYTES: usize = 16 * 1024 * 1024;
/// Streams of one connection: that of the configuration, and names of handshakes that are being asked for.
pub(super) const STREAMS: u32 = 128;
/// Names of handshakes that are being asked for, of all data planes together.
pub(super) const QUESTIONS: usize = 1024;
/// Time for a name's certificate to be obtained.
pub(super) const OBTAIN_TIME: Duration = Duration::from_secs(120);
/// Bytes of the fields of one call: a token and little more.
pub(super) const HEADER_BYTES: u32 = 32 * 1024;
/// A connection that answers no ping is closed.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time for the answer to a ping.
pub(super) const PING_TIME: Duration = Duration::from_secs(10);
/// Time for open streams to end with the server.
pub(super) const END_TIME: Duration = Duration::from_secs(5);

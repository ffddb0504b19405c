//! Small clients of our own: what they send is exactly what the test says, and what they show is what came.

mod answer;
mod ask;
pub mod frames;
mod h2;
mod wire;

pub use answer::{Answer, Parsed, parse};
pub use ask::Ask;
pub use h2::{H2, collect, request};
pub use wire::{Ended, Io, Wire};

use crate::wait::soon;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A connection without TLS.
pub async fn plain(address: SocketAddr) -> Box<dyn Io> {
    let stream = soon("connect", TcpStream::connect(address)).await;
    let stream = stream.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    stream.set_nodelay(true).expect("a socket option");
    Box::new(stream)
}

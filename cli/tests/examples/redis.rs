//! The Redis server of an example.

use crate::support::DEADLINE;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running server; killed when dropped.
pub(crate) struct Redis(Child);

impl Redis {
    /// Starts `ADDRESS:PORT[,password=WORD]`, with nothing on the disk, and waits until it listens.
    pub(crate) fn start(what: &str) -> Self {
        let (address, password) = match what.split_once(",password=") {
            Some((address, password)) => (address, Some(password)),
            None => (what, None),
        };
        let address: SocketAddr = address.parse().unwrap();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new("redis-server");
        command.args(["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no"]);
        command.args(password.iter().flat_map(|it| ["--requirepass", it]));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().expect("redis-server (tests/run installs it)"));
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "nobody listens at {address}");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

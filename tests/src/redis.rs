//! A real Redis server, with nothing on the disk.

use crate::places::loopback;
use crate::wait::eventually;
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const PORT: u16 = 26_379;

/// `redis-server` on an address of its own. Killed when dropped.
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    arguments: Vec<String>,
    is_tls: bool,
}

impl RedisServer {
    /// Starts one with these arguments (`--requirepass`, `secret`) and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_as(arguments, false).await
    }

    /// The same for TLS alone, with arguments that name certificates.
    pub async fn start_tls(arguments: &[&str]) -> Self {
        Self::start_as(arguments, true).await
    }

    async fn start_as(arguments: &[&str], is_tls: bool) -> Self {
        let address = SocketAddr::new(loopback(), PORT);
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let server = Self { child: spawn(address, &arguments, is_tls), address, arguments, is_tls };
        server.ready().await;
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL, and nobody listens any more.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a running server");
    }

    /// Starts it again at the same address, empty.
    pub async fn restart(&mut self) {
        self.child = spawn(self.address, &self.arguments, self.is_tls);
        self.ready().await;
    }

    /// Sends a signal by name.
    pub async fn signal(&self, name: &str) {
        let number = self.child.id().expect("a running server").to_string();
        let sent = Command::new("kill").args(["-s", name, &number]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {number}");
    }

    /// Sends a line and reads what comes up to a pause; an answer of the tests' size comes at once.
    pub async fn ask(&self, line: &str) -> String {
        self.try_ask(line).await.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    async fn try_ask(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn ready(&self) {
        let answers = || async {
            match self.is_tls {
                true => TcpStream::connect(self.address).await.is_ok(),
                false => self.try_ask("PING").await.is_ok(),
            }
        };
        eventually("redis-server answers", answers).await;
    }
}

fn spawn(address: SocketAddr, arguments: &[String], is_tls: bool) -> Child {
    let mut command = Command::new("redis-server");
    let port = address.port().to_string();
    match is_tls {
        true => command.args(["--port", "0", "--tls-port", &port]),
        false => command.args(["--port", &port]),
    };
    command
        .args(["--bind", &address.ip().to_string(), "--save", "", "--appendonly", "no"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().expect("redis-server is missing; install the package redis-server (tests/run does)")
}

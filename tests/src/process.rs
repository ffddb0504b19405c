//! The real binary as a process.

use crate::client::{Answer, Ask, Wire};
use crate::places::loopback;
use crate::stand::PORT_OFFSET;
use crate::wait::{eventually, soon};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const ADMIN_PORT: u16 = 25_000;

/// `sluice run DIR` on an address of its own. Killed when dropped.
pub struct Sluice {
    child: Child,
    bind: IpAddr,
    said: Arc<Mutex<String>>,
}

impl Sluice {
    /// Starts `sluice run DIR` and waits until it is ready.
    pub async fn run(directory: &Path, arguments: &[&str]) -> Self {
        let mut sluice = Self::spawn(loopback(), directory, arguments);
        sluice.ready().await;
        sluice
    }

    /// Starts `sluice run DIR` at an address and waits for nothing.
    pub fn spawn(bind: IpAddr, directory: &Path, arguments: &[&str]) -> Self {
        Self::spawn_with(bind, directory, arguments, &[])
    }

    /// The same with these variables.
    pub fn spawn_with(
        bind: IpAddr,
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(binary());
        command.envs(variables.iter().copied());
        command.arg("run").arg(directory).args(["--bind", &bind.to_string()]);
        command.args(["--port-offset", &PORT_OFFSET.to_string(), "--admin", &format!("{bind}:{ADMIN_PORT}")]);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take(), &said);
        listen(child.stderr.take(), &said);
        Self { child, bind, said }
    }

    /// Waits until `/healthz/ready` says so.
    pub async fn ready(&mut self) {
        let admin = self.admin();
        tokio::select! {
            _ = eventually("the gateway is ready", || async { readiness(admin).await == Some(200) }) => {}
            status = self.child.wait() => panic!("sluice run ended with {status:?}: {}", text(&self.said)),
        }
    }

    /// Where it binds.
    pub fn bind(&self) -> IpAddr {
        self.bind
    }

    /// The address where a port of the manifests is served.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.bind, port + PORT_OFFSET)
    }

    /// The admin server.
    pub fn admin(&self) -> SocketAddr {
        SocketAddr::new(self.bind, ADMIN_PORT)
    }

    /// A request over a connection of its own; only plain listeners.
    pub async fn request(&self, ask: &Ask) -> Answer {
        Wire::connect(self.address(ask.port())).await.ask(ask).await
    }

    /// Process number.
    pub fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// What it wrote to standard output and error so far.
    pub fn said(&self) -> String {
        text(&self.said)
    }

    /// Sends a signal by name.
    pub async fn signal(&self, name: &str) {
        let number = self.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &number]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {number}");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        soon("the end of the process", self.child.wait()).await.expect("a child")
    }

    /// SIGTERM, then its end.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM").await;
        self.ended().await
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

/// The status of `/healthz/ready`; `None`: nobody answers.
pub async fn readiness(admin: SocketAddr) -> Option<u16> {
    let stream = TcpStream::connect(admin).await.ok()?;
    let mut wire = Wire::over(Box::new(stream));
    wire.try_send(&Ask::get("http://admin/healthz/ready").to_http1()).await.ok()?;
    wire.read(false).await.ok().map(|answer| answer.status)
}

/// The binary that cargo put beside the test executables.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test executable");
    let path = test.parent().and_then(Path::parent).expect("a target directory").join("sluice");
    assert!(
        path.exists(),
        "{} is missing; run `cargo build -p sluice` first (tests/run does)",
        path.display()
    );
    path
}

/// Collects lines until the stream ends.
fn listen(stream: Option<impl AsyncRead + Send + Unpin + 'static>, said: &Arc<Mutex<String>>) {
    let Some(stream) = stream else { return };
    let said = said.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok::<_, io::Error>(Some(line)) = lines.next_line().await {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&line);
            said.push('\n');
        }
    });
}

fn text(said: &Mutex<String>) -> String {
    said.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

//! Starts the real program, waits until it says that it is ready, and ends it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// For anything that should take milliseconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    told: Arc<Told>,
    /// Takes over what it tells; ends with it.
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    text: Mutex<String>,
    news: Condvar,
}

impl Program {
    /// Starts `sluice` with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same with variables of its own.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(arguments)
            .env_remove("SLUICE_LOG")
            .env("SLUICE_STATE", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Arc::new(Told::default());
        let (stderr, sink) = (child.stderr.take().unwrap(), told.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = sink.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
                sink.news.notify_all();
            }
        });
        Self { child, told, reader: Some(reader) }
    }

    /// Starts echo backends, each `ADDRESS:PORT=NAME[,tls=FOLDER|,tcp|,udp]` with a folder below the repository's.
    pub(crate) fn echo(listens: &[String]) -> Self {
        let root = format!(",tls={}/../", examples().display());
        let listens: Vec<_> = listens.iter().map(|listen| listen.replace(",tls=", &root)).collect();
        let mut arguments = vec!["echo"];
        arguments.extend(listens.iter().flat_map(|listen| ["--listen", listen.as_str()]));
        let mut echo = Self::start(&arguments);
        for listen in &listens {
            let address = listen.split('=').next().unwrap().trim_end_matches(":0");
            let scheme = match listen.split_once(',') {
                None => "http",
                Some((_, word @ ("tcp" | "udp"))) => word,
                Some(_) => "https",
            };
            echo.wait_for(&format!("listens on {scheme}://{address}"));
        }
        echo
    }

    /// Starts a gateway on a folder.
    pub(crate) fn run(folder: &Path, port_offset: u16) -> Self {
        Self::run_with(folder, port_offset, &[])
    }

    /// The same with further arguments.
    pub(crate) fn run_with(folder: &Path, port_offset: u16, further: &[&str]) -> Self {
        let mut gateway = Self::start_gateway_with(folder, port_offset, further);
        gateway.wait_for("ready after");
        gateway
    }

    /// The same without waiting.
    pub(crate) fn start_gateway(folder: &Path, port_offset: u16) -> Self {
        Self::start_gateway_with(folder, port_offset, &[])
    }

    fn start_gateway_with(folder: &Path, port_offset: u16, further: &[&str]) -> Self {
        let offset = port_offset.to_string();
        let arguments = ["run", folder.to_str().unwrap(), "--port-offset", &offset, "--no-admin"];
        Self::start(&[&arguments[..], further].concat())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has told so far.
    pub(crate) fn told(&self) -> String {
        self.told.text.lock().unwrap().clone()
    }

    /// Waits until it has told this.
    pub(crate) fn wait_for(&mut self, wanted: &str) {
        let end = Instant::now() + DEADLINE;
        let told = self.told.clone();
        let mut text = told.text.lock().unwrap();
        while !text.contains(wanted) {
            let ended = self.child.try_wait().unwrap();
            let left = end.saturating_duration_since(Instant::now());
            assert!(ended.is_none() && !left.is_zero(), "never told {wanted:?} ({ended:?}):\n{text}");
            text = told.news.wait_timeout(text, left.min(Duration::from_millis(100))).unwrap().0;
        }
    }

    /// The port behind `listens on http://127.0.0.1:`.
    pub(crate) fn echo_port(&self) -> u16 {
        let told = self.told();
        let port = told.rsplit("listens on http://127.0.0.1:").next().unwrap();
        port.trim().parse().unwrap()
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; everything is told by then.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reader.take().map(JoinHandle::join).transpose().unwrap();
                return status;
            }
            assert!(Instant::now() < end, "still running:\n{}", self.told());
            std::thread::yield_now();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An offset with which all these ports, of TCP and UDP, are free on this machine.
pub(crate) fn free_offset(wanted: &[(IpAddr, u16)]) -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 8_000).unwrap();
    for _ in 0..200 {
        // Below the ports that the system gives to clients, above those of the examples' backends.
        let step = TRIED.fetch_add(1, Ordering::Relaxed);
        let offset = 18_000 + (start + step.wrapping_mul(613)) % 12_000;
        let is_free = |at: (IpAddr, u16)| TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok();
        if wanted.iter().all(|(address, port)| is_free((*address, port + offset))) {
            return offset;
        }
    }
    panic!("no offset leaves {wanted:?} free");
}

/// 127.0.0.1.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// `port` of the default address, with the offset.
pub(crate) fn at(port: u16, offset: u16) -> SocketAddr {
    SocketAddr::new(LOOPBACK, port + offset)
}

/// The folder of the examples.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

//! Two networks of their own with a cable between them, and who answers and calls there.

// Each test program uses a part of it.
#![allow(dead_code, unused_imports)]

mod controller;

pub(crate) use controller::Controller;

use nix::sched::{CloneFlags, unshare};
use sluice_proxy::listen::original_destination;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The workload's user and group.
pub(crate) const APP: (u32, u32) = (1000, 1000);
/// The proxy's.
pub(crate) const PROXY: (u32, u32) = (1337, 1337);

/// Nobody listens there.
const NO_CONTROLLER: &str = "https://127.0.0.1:1";

const POD: &str = "ip link set lo up && ip link add pod0 type veth peer name peer0 && \
    ip link set peer0 netns \"$0\" && ip addr add 10.9.9.1/24 dev pod0 && \
    ip -6 addr add fd00:9::1/64 dev pod0 nodad && ip link set pod0 up && ip route add 10.9.8.0/24 via 10.9.9.9";
const PEER: &str = "ip link set lo up && ip addr add 10.9.9.9/24 dev peer0 && ip addr add 10.9.9.8/24 dev peer0 && ip addr add 10.9.9.7/24 dev peer0 && \
    ip addr add 10.9.8.8/32 dev peer0 && ip -6 addr add fd00:9::9/64 dev peer0 nodad && ip link set peer0 up";

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_secs(2);

/// What the thread of the peer's network does next.
type Job = Box<dyn FnOnce() + Send>;

/// Both networks, seen from the pod.
pub(crate) struct World {
    peer: Sender<Job>,
    folder: TempDir,
    servers: Mutex<Vec<Child>>,
}

impl World {
    /// Runs a test there.
    pub(crate) fn run(test: impl FnOnce(Self) + Send + 'static) {
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("a network needs root; as another user run `unshare -r cargo test ...`");
            let (tell, told) = channel();
            let (peer, jobs) = channel::<Job>();
            thread::spawn(move || at_peer(&tell, &jobs));
            let thread_of_peer: i32 = told.recv().expect("the peer's network");
            let folder = tempfile::tempdir().expect("a folder");
            // Others read there, too.
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.path(), open).expect("a folder");
            std::fs::write(folder.path().join("resolv.conf"), "nameserver 10.9.9.9\n").expect("a file");
            let world = Self { peer, folder, servers: Mutex::default() };
            let mount = "mount --make-rprivate / && mount --bind \"$0\" /etc/resolv.conf";
            shell(mount, &world.file("resolv.conf").display().to_string());
            shell(POD, &thread_of_peer.to_string());
            world.at_peer(|| drop(shell(PEER, "")));
            test(world);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `/etc/resolv.conf` says here from now on.
    pub(crate) fn resolv_conf(&self, text: &str) {
        std::fs::write(self.file("resolv.conf"), text).expect("a file");
    }

    /// Runs a shell in the pod; what it says.
    pub(crate) fn shell(&self, script: &str) -> String {
        shell(script, "")
    }

    /// Runs `sluice-sidecar capture`.
    pub(crate) fn capture(&self, words: &str) {
        let mut command = Command::new(binary());
        let output = command.arg("capture").args(words.split(' ')).output().expect("a program");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same at the peer.
    pub(crate) fn capture_at_peer(&self, words: &'static str) {
        self.at_peer(move || {
            let mut command = Command::new(binary());
            let output = command.arg("capture").args(words.split(' ')).output().expect("a program");
            assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        });
    }

    /// Makes files that everybody may read, in a folder of that name.
    pub(crate) fn write(&self, folder: &str, files: &[(&str, &str)]) {
        let folder = self.file(folder);
        std::fs::create_dir(&folder).expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("a file");
        }
        shell("chmod -R a+rX \"$0\"", &self.folder.path().display().to_string());
    }

    /// Starts this very test program, with a variable that names one of the folders.
    pub(crate) fn own_program(&self, who: (u32, u32), variable: (&str, &str), words: &[&str]) -> Sidecar {
        let child = own_program(who, (variable.0, self.file(variable.1)), words);
        eventually_connects(SocketAddr::from(([127, 0, 0, 1], 15006)));
        child
    }

    /// The same at the peer.
    pub(crate) fn own_program_at_peer(
        &self,
        who: (u32, u32),
        variable: (&'static str, &str),
        words: &[&'static str],
    ) -> Sidecar {
        let (variable, words) = ((variable.0, self.file(variable.1)), words.to_vec());
        self.at_peer(move || {
            let child = own_program(who, variable, &words);
            eventually_connects(SocketAddr::from(([127, 0, 0, 1], 15006)));
            child
        })
    }

    /// Runs another command of `sluice-sidecar`: whether it succeeds, and what it says.
    pub(crate) fn order(&self, words: &str) -> (bool, String) {
        let output = Command::new(binary()).args(words.split(' ')).output().expect("a program");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts `sluice-sidecar run` as the proxy's user, without a controller.
    pub(crate) fn sidecar(&self, options: &[&str]) -> Sidecar {
        let program = binary();
        let mut command = as_user(Some(PROXY), program.to_str().expect("a path"));
        let usual = "run --pod web-1 --namespace shop --addresses 10.9.9.1 --log-format text";
        command.args(usual.split(' '));
        if !options.contains(&"--controller") {
            command.args(["--controller", NO_CONTROLLER]);
        }
        command.args(options).env("SLUICE_LOG", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Sidecar(command.spawn().expect("a program"))
    }

    /// Starts `sluice-sidecar run` with a controller, and waits until it is ready.
    pub(crate) fn sidecar_of(&self, controller: &Controller, options: &[&str]) -> Sidecar {
        let files = controller.files(self.folder.path());
        let mut all: Vec<&str> = files.iter().map(String::as_str).collect();
        all.extend(options);
        let sidecar = self.sidecar(&all);
        sidecar.answers("127.0.0.1:15021");
        let ready = || self.call(APP, "127.0.0.1:15021/healthz/ready");
        eventually(&mut || ready() == "ready", &mut || ready());
        sidecar
    }

    /// Answers connections in the pod: a name, and where the connection was going.
    pub(crate) fn serve(&self, address: &str, name: &'static str) {
        serve(address.parse().expect("an address"), name);
    }

    /// Answers connections at the peer.
    pub(crate) fn serve_at_peer(&self, address: &str, name: &'static str) {
        let address = address.parse().expect("an address");
        self.at_peer(move || serve(address, name));
    }

    /// The answer to a user of the pod.
    pub(crate) fn call(&self, who: (u32, u32), target: &str) -> String {
        curl(Some(who), &[], target)
    }

    /// The same from a source of the caller's choice.
    pub(crate) fn call_from(&self, source: &str, who: (u32, u32), target: &str) -> String {
        curl(Some(who), &["--interface", &format!("host!{source}")], target)
    }

    /// The answer to the peer.
    pub(crate) fn call_from_peer(&self, target: &str) -> String {
        let target = target.to_owned();
        self.at_peer(move || curl(None, &[], &target))
    }

    /// A real name server at the peer, which knows one name.
    pub(crate) fn name_server_at_peer(&self, listen: &str, name: &str, address: &str) {
        let arguments = [
            "--keep-in-foreground".to_owned(),
            "--conf-file=/dev/null".to_owned(),
            "--no-resolv".to_owned(),
            "--no-hosts".to_owned(),
            "--bind-interfaces".to_owned(),
            "--user=root".to_owned(),
            "--pid-file=".to_owned(),
            format!("--listen-address={listen}"),
            format!("--address=/{name}/{address}"),
        ];
        let child = self.at_peer(move || {
            Command::new("dnsmasq").args(arguments).stdin(Stdio::null()).spawn().expect("dnsmasq-base")
        });
        self.servers.lock().expect("no panic").push(child);
        let target = format!("{listen}:53").parse().expect("an address");
        self.at_peer(move || eventually_connects(target));
    }

    /// What a user of the pod is told of a name.
    pub(crate) fn ask(&self, who: (u32, u32), server: &str, name: &str, option: &str) -> String {
        let at = format!("@{server}");
        let mut command = as_user(Some(who), "dig");
        command.args(["+short", "+tries=1", "+time=3", &at, name]).args(option.split_whitespace());
        let output = command.output().expect("bind9-dnsutils");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn at_peer<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job: Job = Box::new(move || drop(tell.send(job())));
        self.peer.send(job).expect("the peer's network");
        told.recv().expect("the peer's network")
    }
}

/// A running sidecar. Killed when dropped.
pub(crate) struct Sidecar(Child);

impl Sidecar {
    /// A line of `/proc/PID/status`, KiB.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("proc");
        let line = status.lines().find_map(|it| it.strip_prefix(line)).expect("a line");
        line.trim().trim_end_matches(" kB").trim_start_matches(':').trim().parse().expect("a number")
    }

    /// Waits until it listens.
    pub(crate) fn answers(&self, address: &str) {
        eventually_connects(address.parse().expect("an address"));
    }

    /// Whether it runs still.
    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        shell("kill -s TERM \"$0\"", &self.0.id().to_string());
    }

    /// Waits for its end; its exit status.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.is_running() {
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
        self.0.wait().expect("a child").code()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for server in self.servers.lock().expect("no panic").iter_mut() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn at_peer(tell: &Sender<i32>, jobs: &Receiver<Job>) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network");
    let thread = std::fs::read_link("/proc/thread-self").expect("proc");
    let id = thread.file_name().and_then(|it| it.to_str()?.parse().ok()).expect("a number");
    tell.send(id).expect("a test");
    while let Ok(job) = jobs.recv() {
        job();
    }
}

/// The program, which is built beside its tests.
fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test");
    own.ancestors().nth(2).expect("a target folder").join("sluice-sidecar")
}

fn own_program(who: (u32, u32), variable: (&str, PathBuf), words: &[&str]) -> Sidecar {
    let own = std::env::current_exe().expect("a test");
    let mut command = as_user(Some(who), own.to_str().expect("a path"));
    command.args(words).env(variable.0, variable.1).stdin(Stdio::null()).stdout(Stdio::null());
    Sidecar(command.spawn().expect("a program"))
}

fn shell(script: &str, argument: &str) -> String {
    let output = Command::new("/bin/sh").args(["-c", script, argument]).output().expect("a shell");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn serve(address: SocketAddr, name: &'static str) {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        None,
    )
    .expect("a socket");
    if address.is_ipv6() {
        socket.set_only_v6(true).expect("an option");
    }
    socket.bind(&address.into()).and_then(|()| socket.listen(16)).expect("a port");
    thread::spawn(move || {
        runtime().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(socket.into()).expect("a listener");
            while let Ok((mut stream, peer)) = listener.accept().await {
                tokio::spawn(async move {
                    let is_sidecar = matches!(address.port(), 15001 | 15006);
                    let text = match original_destination(&stream) {
                        _ if !is_sidecar => name.to_owned(),
                        Ok(Some(original)) => format!("{name} {original}"),
                        Ok(None) => format!("{name} itself"),
                        Err(error) => format!("{name} {error}"),
                    };
                    let mut request = [0; 1024];
                    let length = stream.read(&mut request).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&request[..length]);
                    let text = match request.split(' ').nth(1) {
                        Some("/from") => format!("{name} {}", peer.ip()),
                        Some("/slow") => {
                            tokio::time::sleep(SLOW).await;
                            text
                        }
                        _ => text,
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        text.len()
                    );
                    let _ = stream.write_all((head + &text).as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
    });
}

fn as_user(who: Option<(u32, u32)>, program: &str) -> Command {
    let Some((user, group)) = who else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    command.arg(program);
    command
}

fn curl(who: Option<(u32, u32)>, options: &[&str], target: &str) -> String {
    let mut command = as_user(who, "curl");
    command.args(["-sS", "-g", "--noproxy", "*", "-m", "5"]).args(options).arg(format!("http://{target}"));
    let output = command.output().expect("curl");
    let text = if output.status.success() { output.stdout } else { output.stderr };
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Asks until the answer is yes.
pub(crate) fn eventually(condition: &mut dyn FnMut() -> bool, what: &mut dyn FnMut() -> String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{}", what());
        thread::sleep(Duration::from_millis(20));
    }
}

fn eventually_connects(target: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(target).is_err() {
        assert!(Instant::now() < deadline, "{target} does not answer");
        thread::sleep(Duration::from_millis(20));
    }
}

//! A network of the cluster's own: a network namespace with a bridge, on which every pod gets a namespace and an address.
//!
//! Namespaces have no name in the file system; the kernel removes them, with bridge and cables, when the last process
//! and the last descriptor are gone. Threads enter them, so that every socket and process which a thread makes is inside.
//! Sockets bound in [`BACKENDS`] need no pod: the API server takes these addresses in an EndpointSlice, which it refuses
//! for 127.0.0.0/8.

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// The cluster's node, and the gateway of all pods.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// Where the API server listens.
pub const API_SERVER: SocketAddrV4 = SocketAddrV4::new(HOST, 6443);
/// Cluster addresses of Services: 10.96.0.0/16.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// The first of 65,536 addresses (10.98.0.0/16) that tests can listen on without a pod.
pub const BACKENDS: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 0);
/// The bridge's address. A bridge without one of its own takes the lowest of its ports', so that a new pod could change
/// it, and the others would send to the old one for seconds.
const BRIDGE: &str = "02:00:0a:f4:00:01";
/// All of 10.96.0.0/12 is the node's: Services, load balancers, backends.
const LOCAL: &str = "10.96.0.0/12";

/// A network namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    namespace: Arc<File>,
}

impl Network {
    /// The network of a cluster: loopback, the bridge `pods`, and the node's addresses.
    pub(crate) fn of_cluster() -> Result<Self> {
        let network = Self::empty()?;
        network.ip(&format!(
            "link set lo up\nlink add pods address {BRIDGE} type bridge\naddr add {HOST}/16 dev pods\nlink set pods up\n\
             route add local {LOCAL} dev lo\n"
        ))?;
        Ok(network)
    }

    /// The network of a pod, with one cable to the bridge.
    pub fn of_pod(&self, address: Ipv4Addr) -> Result<Self> {
        let pod = Self::empty()?;
        let [.., c, d] = address.octets();
        self.ip(&format!(
            "link add pod{c}.{d} type veth peer name eth0 netns {}\nlink set pod{c}.{d} master pods up\n",
            pod.path()
        ))?;
        pod.ip(&format!(
            "link set lo up\naddr add {address}/16 dev eth0\nlink set eth0 up\nroute add default via {HOST}\n"
        ))?;
        Ok(pod)
    }

    fn empty() -> Result<Self> {
        let thread = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("a network namespace needs root; as another user run `unshare -r cargo test ...`")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        match thread.join() {
            Ok(namespace) => Ok(Self { namespace: Arc::new(namespace?) }),
            Err(_) => bail!("the thread that makes a network namespace panicked"),
        }
    }

    /// The namespace that the calling thread is in.
    pub(crate) fn current() -> Result<Self> {
        Ok(Self { namespace: Arc::new(File::open("/proc/thread-self/ns/net")?) })
    }

    /// Moves the calling thread into the namespace.
    ///
    /// # Errors
    /// When the kernel refuses: it takes root, also in a user namespace.
    pub fn enter(&self) -> Result<()> {
        setns(&*self.namespace, CloneFlags::CLONE_NEWNET).context("entering a network namespace")
    }

    /// A path by which other programs find the namespace while this process lives.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd())
    }

    /// A runtime all of whose threads are in the namespace.
    pub(crate) fn runtime(&self, name: &str, threads: usize) -> Result<Runtime> {
        let network = self.clone();
        Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .on_thread_start(move || network.enter().expect("the cluster's network"))
            .enable_all()
            .build()
            .context("a runtime")
    }

    /// Runs lines of iproute2 commands inside.
    fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("nsenter")
            .arg(format!("--net={}", self.path()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nsenter and ip (Debian: apt-get install util-linux iproute2)")?;
        child.stdin.take().context("standard input")?.write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("ip -batch: {}\n{lines}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_keeps_its_address_whatever_pods_come() {
        let network = Network::of_cluster().unwrap();
        let address = || {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", network.path()));
            let output = command.args(["ip", "-brief", "link", "show", "pods"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().nth(2).unwrap_or_default().to_owned()
        };
        let _pods: Vec<_> =
            (1..=3).map(|it| network.of_pod(Ipv4Addr::new(10, 244, 9, it)).unwrap()).collect();
        assert_eq!(address(), BRIDGE);
    }
}

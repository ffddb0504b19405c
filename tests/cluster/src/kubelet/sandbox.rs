//! How a container's process is started: in the pod's network, with a root folder of its own that holds what the image
//! holds, under the user and the rights that the pod asks for.
//!
//! The root has the image's program, the machine's `/usr` to find libraries in, `/proc`, `/dev` and the mounted volumes.
//! It is read-only when the container says so, and no right is left to a user other than root: what holds here holds
//! under the restricted pod security standard.

use super::fields::{environment, expand};
use super::images::{self, Image};
use crate::assets::Assets;
use crate::network::Network;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What every container of a pod shares.
pub(crate) struct Sandbox {
    /// The pod's network.
    pub(crate) network: Network,
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// Files of this pod.
    pub(crate) folder: PathBuf,
    /// Folders of the volumes by name.
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    /// The file that says where Services are, for `/etc/hosts`.
    pub(crate) hosts: PathBuf,
}

impl Sandbox {
    /// Starts a container's process.
    pub(crate) async fn start(
        &self,
        client: &Client,
        assets: &Assets,
        pod: &Pod,
        container: &Container,
    ) -> Result<Child> {
        let image = images::find(assets, container.image.as_deref().unwrap_or_default())?;
        let name = image.program.file_name().and_then(|name| name.to_str()).context("a program")?.to_owned();
        let variables = environment(client, pod, container, self.address).await?;
        let user = User::of(pod, container, image.user)?;
        let root = self.folder.join("root").join(&container.name);
        let mut script = self.lay_out(&root, pod, container, &image, &name)?;
        script.push_str(&user.command(&root));
        let command = match container.command.as_deref() {
            Some([]) | None => vec![format!("/{name}")],
            Some(command) => command.to_vec(),
        };
        for word in command.iter().chain(container.args.iter().flatten()) {
            script.push(' ');
            script.push_str(&quoted(&expand(word, &variables)));
        }
        Command::new("/usr/bin/nsenter")
            .arg(format!("--net={}", self.network.path()))
            .args(["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-euc", &script])
            .env_clear()
            .envs(&variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a container")
    }

    /// Makes the root folder and returns the commands that mount it.
    fn lay_out(
        &self,
        root: &Path,
        pod: &Pod,
        container: &Container,
        image: &Image,
        name: &str,
    ) -> Result<String> {
        for folder in ["usr", "proc", "dev", "etc"] {
            fs::create_dir_all(root.join(folder))?;
        }
        for link in ["bin", "sbin", "lib", "lib64"] {
            let _ = std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link));
        }
        self.name_lookup(root, pod)?;
        let mut mounts = Mounts::new(root);
        mounts.bind(Path::new("/usr"), "/usr", true)?;
        mounts.bind(Path::new("/proc"), "/proc", false)?;
        mounts.bind(Path::new("/dev"), "/dev", false)?;
        mounts.bind(&self.hosts, "/etc/hosts", true)?;
        mounts.bind(&image.program, &format!("/{name}"), true)?;
        if let Some(client) = image.client {
            mounts.bind(&image.program, client, true)?;
        }
        for mount in container.volume_mounts.iter().flatten() {
            let volume =
                self.volumes.get(&mount.name).with_context(|| format!("no volume {}", mount.name))?;
            let source = mount.sub_path.as_ref().map_or(volume.clone(), |path| volume.join(path));
            mounts.bind(&source, &mount.mount_path, mount.read_only == Some(true))?;
        }
        let context = container.security_context.as_ref();
        let read_only = context.and_then(|context| context.read_only_root_filesystem) == Some(true);
        Ok(mounts.script(read_only))
    }
}

impl Sandbox {
    /// How names are looked up: in `/etc/hosts`, and in pods of the mesh also by DNS, which the sidecar answers. Nobody
    /// else does: the cluster has no DNS server.
    fn name_lookup(&self, root: &Path, pod: &Pod) -> Result<()> {
        let containers = pod.spec.iter().flat_map(|it| it.init_containers.iter().flatten());
        if !containers.into_iter().any(|it| it.name == "sluice-proxy") {
            fs::write(root.join("etc/nsswitch.conf"), "hosts: files\n")?;
            return Ok(());
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let domain = "cluster.local";
        fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
        let resolver = format!(
            "search {namespace}.svc.{domain} svc.{domain} {domain}\nnameserver {DNS}\noptions ndots:5\n"
        );
        fs::write(root.join("etc/resolv.conf"), resolver)?;
        Ok(())
    }
}

/// Where a cluster's DNS is.
const DNS: &str = "10.96.0.10";

/// Commands of a shell that mount folders and files below a root.
struct Mounts<'a> {
    root: &'a Path,
    commands: String,
}

impl<'a> Mounts<'a> {
    fn new(root: &'a Path) -> Self {
        let root_text = quoted(&root.to_string_lossy());
        Self { root, commands: format!("mount --bind {root_text} {root_text}\n") }
    }

    fn bind(&mut self, source: &Path, target: &str, read_only: bool) -> Result<()> {
        let target = self.root.join(target.trim_start_matches('/'));
        if source.is_dir() {
            fs::create_dir_all(&target)?;
        } else if !target.exists() {
            fs::create_dir_all(target.parent().context("a parent")?)?;
            File::create(&target)?;
        }
        let (source, target) = (quoted(&source.to_string_lossy()), quoted(&target.to_string_lossy()));
        self.commands.push_str(&format!("mount --rbind {source} {target}\n"));
        if read_only {
            self.commands.push_str(&format!("mount -o remount,bind,ro {target}\n"));
        }
        Ok(())
    }

    fn script(mut self, read_only_root: bool) -> String {
        if read_only_root {
            let root = quoted(&self.root.to_string_lossy());
            self.commands.push_str(&format!("mount -o remount,bind,ro {root}\n"));
        }
        self.commands
    }
}

/// Who a container runs as, and with which rights.
pub(crate) struct User {
    user: i64,
    group: i64,
    /// Rights of root; other users have none.
    capabilities: BTreeSet<String>,
}

/// What containers of root have when they ask for nothing else, as with containerd.
const CAPABILITIES: [&str; 14] = [
    "audit_write",
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "mknod",
    "net_bind_service",
    "net_raw",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_chroot",
];

impl User {
    pub(crate) fn of(pod: &Pod, container: &Container, of_image: i64) -> Result<Self> {
        let spec = pod.spec.as_ref().context("a spec")?;
        let (of_pod, own) = (spec.security_context.as_ref(), container.security_context.as_ref());
        let user = own
            .and_then(|own| own.run_as_user)
            .or(of_pod.and_then(|pod| pod.run_as_user))
            .unwrap_or(of_image);
        let group =
            own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group)).unwrap_or(user);
        let non_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
        if non_root == Some(true) && user == 0 {
            bail!("container has runAsNonRoot and image will run as root");
        }
        let mut capabilities: BTreeSet<String> = CAPABILITIES.map(str::to_owned).into();
        if let Some(asked) = own.and_then(|own| own.capabilities.as_ref()) {
            for name in asked.drop.iter().flatten().map(|it| it.to_lowercase()) {
                if name == "all" {
                    capabilities.clear();
                }
                capabilities.remove(&name);
            }
            capabilities.extend(asked.add.iter().flatten().map(|it| it.to_lowercase()));
        }
        Ok(Self { user, group, capabilities })
    }

    /// The end of the script: changes the root, gives up rights, and becomes the container's command.
    fn command(&self, root: &Path) -> String {
        let root = quoted(&root.to_string_lossy());
        let rights = self.rights().join(" ");
        format!("exec chroot {root} /usr/bin/setpriv {rights} --no-new-privs --pdeathsig KILL --")
    }

    /// Words of `setpriv` that take rights away.
    pub(crate) fn rights(&self) -> Vec<String> {
        let none = ["--inh-caps=-all".to_owned(), "--bounding-set=-all".to_owned()];
        match self.user {
            0 => {
                let kept: String = self.capabilities.iter().map(|it| format!(",+{it}")).collect();
                vec!["--inh-caps=-all".to_owned(), format!("--bounding-set=-all{kept}")]
            }
            // A user namespace with one user has nobody else to become.
            _ if !many_users() => none.into(),
            user => {
                let mut words = vec![format!("--reuid={user}"), format!("--regid={}", self.group)];
                words.push("--clear-groups".to_owned());
                words.extend(none);
                words
            }
        }
    }
}

fn many_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace()
        .nth(2)
        .and_then(|count| count.parse::<u64>().ok())
        .is_some_and(|count| count > 65_536)
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quoted_word_is_one_word_of_the_shell() {
        let word = "it's $HOME; a\nb \\ \"c\"";
        let output =
            std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), word);
    }
}

//! Hands rules to the kernel by the tools that are there.

use super::plan::{Family, Plan};
use super::{iptables, loopback, nft};
use anyhow::{Context as _, Result, bail};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

/// Taken by the old iptables while it changes something.
const LOCK: &str = "/run/xtables.lock";

/// What tells the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The first of the others that works here.
    #[default]
    Auto,
    /// nftables, by `nft`.
    Nft,
    /// nftables, by the iptables that writes to it.
    IptablesNft,
    /// The kernel's old tables.
    IptablesLegacy,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nft => "nft",
            Self::IptablesNft => "iptables-nft",
            Self::IptablesLegacy => "iptables-legacy",
        })
    }
}

/// All that can be used, the best first.
const BACKENDS: [Backend; 3] = [Backend::Nft, Backend::IptablesNft, Backend::IptablesLegacy];

/// Applies the plan and takes away what another tool has of ours. Returns what was used.
pub(super) fn apply(plan: &Plan, wanted: Backend) -> Result<Backend> {
    let used = if wanted == Backend::Auto { choose(plan)? } else { wanted };
    if plan.v6 {
        loopback::add_passthrough().context("the address ::6 can't be added to the interface lo")?;
    }
    if let Err(error) = apply_by(used, plan) {
        let _ = clean_by(used);
        return Err(error.context(format!("the rules can't be applied by {used}")));
    }
    for other in BACKENDS.into_iter().filter(|it| *it != used) {
        clean_by(other).with_context(|| format!("older rules can't be taken away by {other}"))?;
    }
    Ok(used)
}

/// Takes away all that is ours.
pub(super) fn clean() -> Result<()> {
    for backend in BACKENDS {
        clean_by(backend).with_context(|| format!("the rules can't be taken away by {backend}"))?;
    }
    loopback::remove_passthrough().context("the address ::6 can't be taken from the interface lo")
}

/// The first that takes the rules, without applying them.
fn choose(plan: &Plan) -> Result<Backend> {
    let mut reasons = Vec::new();
    for backend in BACKENDS {
        match check_by(backend, plan) {
            Ok(()) => return Ok(backend),
            Err(error) => reasons.push(format!("{backend}: {error:#}")),
        }
    }
    bail!("no tool can capture connections here; {}", reasons.join("; "))
}

fn check_by(backend: Backend, plan: &Plan) -> Result<()> {
    if backend == Backend::Nft {
        return run("nft", &["-c", "-f", "-"], &nft::text(plan)).map(drop);
    }
    for family in families(plan) {
        let text = iptables::text(plan, family, &present(backend, family)?);
        run(&program(backend, family, "restore"), &["--noflush", "--test", "-w"], &text)?;
    }
    Ok(())
}

fn apply_by(backend: Backend, plan: &Plan) -> Result<()> {
    if backend == Backend::Nft {
        return run("nft", &["-f", "-"], &nft::text(plan)).map(drop);
    }
    for family in families(plan) {
        restore(backend, plan, family)?;
    }
    if !plan.v6 {
        // An earlier run may have captured it.
        clean_family(backend, Family::V6)?;
    }
    Ok(())
}

fn families(plan: &Plan) -> impl Iterator<Item = Family> + use<> {
    [Some(Family::V4), plan.v6.then_some(Family::V6)].into_iter().flatten()
}

fn restore(backend: Backend, plan: &Plan, family: Family) -> Result<()> {
    let text = iptables::text(plan, family, &present(backend, family)?);
    run(&program(backend, family, "restore"), &["--noflush", "-w"], &text).map(drop)
}

/// A tool that is not here has left nothing.
fn clean_by(backend: Backend) -> Result<()> {
    if backend == Backend::Nft {
        return match run("nft", &["list", "tables"], "") {
            Ok(tables) if tables.lines().any(|it| it == "table inet sluice") => {
                run("nft", &["-f", "-"], &nft::none()).map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(error),
        };
    }
    clean_family(backend, Family::V4)?;
    clean_family(backend, Family::V6)
}

fn clean_family(backend: Backend, family: Family) -> Result<()> {
    let present = match present(backend, family) {
        Ok(present) if present.is_empty() => return Ok(()),
        Ok(present) => present,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let nothing = Plan { v6: true, chains: Vec::new() };
    let text = iptables::text(&nothing, family, &present);
    run(&program(backend, family, "restore"), &["--noflush", "-w"], &text).map(drop)
}

/// What is ours in the kernel. The old tables are not looked at where nobody has used them: looking makes them.
fn present(backend: Backend, family: Family) -> Result<iptables::Present> {
    let names = match family {
        Family::V4 => "/proc/net/ip_tables_names",
        Family::V6 => "/proc/net/ip6_tables_names",
    };
    let in_use = |names: &str| std::fs::read_to_string(names).is_ok_and(|it| !it.trim().is_empty());
    if backend == Backend::IptablesLegacy && !in_use(names) {
        return Ok(iptables::Present::default());
    }
    Ok(iptables::Present::read(&run(&program(backend, family, "save"), &[], "")?))
}

/// `ip6tables-legacy-restore`.
fn program(backend: Backend, family: Family, what: &str) -> String {
    let family = if family == Family::V4 { "iptables" } else { "ip6tables" };
    let kind = if backend == Backend::IptablesNft { "nft" } else { "legacy" };
    format!("{family}-{kind}-{what}")
}

/// Runs a tool; returns what it says. What goes wrong is in the tool's own words.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if File::options().create(true).append(true).open(LOCK).is_err() {
        // A root that can't be written to. The network is this pod's own: nobody else is to be locked out.
        command.env("XTABLES_LOCKFILE", "/dev/null");
    }
    let mut child = command.spawn().with_context(|| program.to_owned())?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may have ended already, and says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| program.to_owned())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} says: {}", said.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|it| it.kind() == ErrorKind::NotFound)
}

//! Rules of the kernel that bring a workload's connections to the proxy: outgoing ones to 15001, incoming ones to
//! 15006, questions of DNS to 15053.
//!
//! In: options with the names of Istio's. What is captured and in which order is decided once, in `rules`, as a
//! `Plan`; `nft` and `iptables` only write it down, and `apply` hands it to the kernel: at once as
//! a whole (nftables) or table by table (iptables). Nothing that somebody else has in the kernel is touched.

mod apply;
mod iptables;
mod loopback;
mod nft;
mod options;
mod plan;
mod rules;

pub use apply::Backend;
pub use options::CaptureArgs;

use anyhow::Result;
use plan::Family;
use std::process::ExitCode;

/// `capture apply|clean|print`.
#[derive(Debug, clap::Subcommand)]
pub enum CaptureCommand {
    /// Makes the rules those that the options ask for, whatever rules of ours are there. Needs NET_ADMIN.
    Apply(Box<CaptureArgs>),
    /// Takes all rules of ours away, and nothing else. Needs NET_ADMIN.
    Clean,
    /// Shows the rules. Needs no right at all.
    Print(Box<CaptureArgs>),
}

/// Does it.
///
/// # Errors
/// When an option is wrong, or the kernel or its tools refuse the rules; nothing of ours is left half done then.
pub fn run(command: CaptureCommand) -> Result<ExitCode> {
    match command {
        CaptureCommand::Apply(args) => {
            let options = args.options()?;
            let plan = rules::plan(&options);
            let used = apply::apply(&plan, args.backend)?;
            let families = if plan.v6 { "IPv4 and IPv6" } else { "IPv4" };
            println!("connections are captured by {used} ({families})");
        }
        CaptureCommand::Clean => {
            apply::clean()?;
            println!("nothing is captured any more");
        }
        CaptureCommand::Print(args) => print!("{}", text(&args)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// What `print` shows: the input of `nft -f -`, or those of `iptables-restore` and `ip6tables-restore`.
///
/// # Errors
/// When an option is wrong.
pub fn text(args: &CaptureArgs) -> Result<String> {
    let plan = rules::plan(&args.options()?);
    Ok(match args.backend {
        Backend::Auto | Backend::Nft => nft::text(&plan),
        Backend::IptablesNft | Backend::IptablesLegacy => {
            let none = iptables::Present::default();
            let v4 = iptables::text(&plan, Family::V4, &none);
            let v6 = if plan.v6 { iptables::text(&plan, Family::V6, &none) } else { String::new() };
            let head = |command: &str| format!("# {command} --noflush\n");
            let second = if v6.is_empty() { String::new() } else { head("ip6tables-restore") + &v6 };
            head("iptables-restore") + &v4 + &second
        }
    })
}

#[cfg(test)]
mod tests;

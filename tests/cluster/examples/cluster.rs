//! A cluster in a network of its own for as long as a command runs, for looking around and for test suites of others:
//!
//! ```text
//! cargo run -p sluice-cluster-tests --example cluster -- [--standard] [--install] [--set KEY=VALUE]... COMMAND [ARGUMENT]...
//! ```
//!
//! The command runs in the cluster's network with KUBECONFIG set. The experimental channel of the Gateway API is
//! installed, or the standard one; with `--install` also Sluice, by `sluice install`.

#![allow(clippy::expect_used)]

use sluice_cluster_tests::{Channel, own};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::process::Command;

/// What the words before the command ask for.
struct Wanted {
    channel: Channel,
    install: bool,
    settings: Vec<String>,
    command: Vec<String>,
}

impl Wanted {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut wanted = Self {
            channel: Channel::Experimental,
            install: false,
            settings: Vec::new(),
            command: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(option) = arguments.next_if(|word| word.starts_with("--")) {
            match option.as_str() {
                "--standard" => wanted.channel = Channel::Standard,
                "--install" => wanted.install = true,
                "--set" => wanted.settings.extend(arguments.next()),
                _ => break,
            }
        }
        wanted.command = arguments.collect();
        wanted
    }
}

fn main() -> ExitCode {
    let wanted = Wanted::parse(std::env::args().skip(1));
    let Some((program, arguments)) = wanted.command.split_first() else {
        eprintln!("usage: cluster [--standard] [--install] [--set KEY=VALUE]... COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let code = AtomicU8::new(1);
    own(async |space| {
        space.cluster.install_crds(wanted.channel).await.expect("CRDs");
        if wanted.install {
            let settings: Vec<_> = wanted.settings.iter().map(String::as_str).collect();
            space.install_sluice(&settings).await.expect("an installed Sluice");
        }
        let status = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", space.cluster.kubeconfig())
            .env("SLUICE_CLUSTER_FOLDER", space.cluster.folder())
            .status()
            .await
            .expect("the command");
        code.store(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1), Ordering::Relaxed);
        if !status.success() && wanted.install {
            eprintln!("{}", space.controller_log().await);
        }
    });
    ExitCode::from(code.into_inner())
}

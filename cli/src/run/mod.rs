//! `sluice run`: a folder of manifests becomes a gateway in this process.
//!
//! load → translate → apply → watch: the loop of `reload.rs` repeats the middle of it for every change, and nothing
//! that stands in the folder ends the process. Start and end are here.

mod acme;
mod reload;
mod summary;

pub use acme::{REPORT, default_state};

use crate::folder::Watcher;
use crate::mesh::MeshArgs;
use crate::project::Project;
use acme::Certificates;
use anyhow::Context as _;
use reload::Reloader;
use sluice_controller::staple::Stapler;
use sluice_gateway::{Gateway, GatewayOptions};
use sluice_ir::Locality;
use sluice_proxy::process::{LogFormat, Termination, init_tracing};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Serve a folder of manifests, and every change of it.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
A saved file is live within 50 ms; connections stay. What is wrong in the folder is told and the rest is served; a
file that can't be read keeps the last good version of its objects in use.

Signals: SIGTERM and SIGINT drain and end, SIGHUP reads everything again.
Exit status: 0 after a signal, 1 when none of the ports could be bound at the start, 2 when the folder can't be read or
the admin port can't be bound.

Examples:
  sluice run examples/hello --port-offset 8000     port 80 becomes 8080: no root needed
  sluice run manifests --bind 0.0.0.0 --admin 127.0.0.1:15000")]
pub struct RunArgs {
    /// Folder with *.yaml, *.yml and *.json files, read with its subfolders; or one file.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Number that is added to the port of every listener. Redirects still name the listener's own port.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,
    /// Address of listeners whose Gateway names none.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Where probes, metrics and the snapshot are served; keep it private.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// Serve no probes and metrics.
    #[arg(long, conflicts_with = "admin")]
    pub no_admin: bool,
    /// Threads that serve [default: as many as the process may use of the machine: its affinity, its cgroup's quota].
    #[arg(long, env = "SLUICE_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Namespace of objects that name none.
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Names of the mesh.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Folder for accounts, keys and certificates of CertificateIssuers; made when the first issuer comes [default:
    /// $STATE_DIRECTORY, else $XDG_STATE_HOME/sluice, else ~/.local/state/sluice].
    #[arg(long, env = "SLUICE_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where this gateway runs, for rules by which near endpoints come first [default: not known, all are alike].
    #[arg(long, env = "SLUICE_LOCALITY", value_name = "REGION/ZONE/SUBZONE")]
    pub locality: Option<Locality>,
    /// Form of the messages on standard error; what is shown follows the variable SLUICE_LOG.
    #[arg(long, value_name = "text|json", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How long open requests may go on after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::duration::parse)]
    pub drain_deadline: Duration,
}

/// Serves until a signal.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    init_tracing(args.log_format, "info")?;
    // Fails only when somebody installed one before, which nobody does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(usize::from(threads));
    }
    let runtime = builder.enable_all().thread_name("sluice").build()?;
    runtime.block_on(serve(args))
}

async fn serve(args: RunArgs) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    let mut termination = Termination::new()?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Before reading, so that no change falls between the two.
    let (mut watcher, error) = Watcher::new(&args.dir);
    if let Some(error) = error {
        warn!(%error, "the system can't report changes of the folder: it is looked at twice a second");
    }
    let (project, update) =
        tokio::task::block_in_place(|| Project::load_in(&args.dir, &args.namespace, &args.mesh))?;
    let gateway = Gateway::start(options(&args)).await.context("can't start the gateway")?;
    let (stapler, stop) = (Stapler::default(), CancellationToken::new());
    tokio::spawn(stapler.clone().run(stop.clone()));
    let _stop = stop.drop_guard();
    let (certificates, mut news) = Certificates::new(args.state.clone().unwrap_or_else(default_state));
    let mut reloader = Reloader::new(project, gateway, stapler.clone(), certificates);
    let failures = reloader.apply(update).await;
    reloader.remember();
    summary::tell(reloader.project(), reloader.unbound(), &args, begin.elapsed());
    if failures > 0 && !reloader.serves_any() {
        tracing::error!(
            "none of the ports could be bound: is another gateway running? see --port-offset and --bind"
        );
        reloader.into_gateway().drain(Duration::ZERO).await;
        return Ok(ExitCode::from(1));
    }
    loop {
        let touched = tokio::select! {
            Some(news) = news.recv() => {
                reloader.hear(news).await;
                continue;
            }
            name = termination.received() => {
                info!(signal = name, deadline = ?args.drain_deadline, "draining");
                break;
            }
            _ = hangup.recv() => reloader.all_files(),
            touched = watcher.next() => touched,
            news = stapler.news() => {
                reloader.restaple(news).await;
                continue;
            }
        };
        reloader.reload(touched).await;
    }
    let cut = reloader.into_gateway().drain(args.drain_deadline).await;
    info!(connections_cut = cut, "ended");
    Ok(ExitCode::SUCCESS)
}

fn options(args: &RunArgs) -> GatewayOptions {
    GatewayOptions {
        bind: args.bind,
        port_offset: args.port_offset,
        admin: (!args.no_admin).then_some(args.admin),
        locality: args.locality.clone(),
        ..GatewayOptions::default()
    }
}

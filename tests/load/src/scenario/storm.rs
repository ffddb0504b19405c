//! A thousand changes under a million requests: nothing may fail, and the last change must hold.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;

use super::change::Watch;
use super::window;
use crate::bench::Bench;
use crate::certificate::{self, Certificate};
use crate::generator::{Link, Load, Pace, Plan, Target, Until};
use crate::measure::process::Process;
use crate::peers::{Job, sluice, start_sluice};
use crate::results::{Figure, Figures};

/// Certificates that take turns.
const CERTIFICATES: usize = 8;
/// Longest storm.
const LIMIT: Duration = Duration::from_secs(300);

/// Kept plain connections carry the requests; two clients shake hands anew for each of theirs meanwhile.
pub(super) async fn measure(bench: &Bench) -> Result<Figures> {
    let job = Job::new(bench.small.0, bench.small.1)?.with_tls()?;
    let certificates: Result<Vec<_>> =
        (0..CERTIFICATES).map(|n| certificate::generate(job.folder(), &format!("storm-{n}"))).collect();
    let certificates = certificates?;
    sluice::write(&job, "watched.yaml", &watched(0, &job))?;
    let process = start_sluice(&job, &bench.programs, bench.proxy_core).await?;
    let first = job.tls.iter().map(|(_, certificate)| &**certificate);
    let client = certificate::client(first.chain(&certificates))?;
    let mut secure = job.target();
    secure.tls = Some((client, ServerName::try_from(sluice::host())?));

    let kept = Plan {
        target: job.plain_target(),
        requests: job.routes.requests(),
        body_bytes: job.body_bytes,
        connections: 64,
        pace: Pace::Closed,
        until: Until::Requests(bench.requests),
        reconnect: false,
        server_names: None,
        may_refuse: false,
    };
    let shaking =
        Plan { target: secure.clone(), connections: 2, until: Until::Told, reconnect: true, ..kept.clone() };
    let shaking = Load::start(shaking);
    let storm = async {
        let load = Load::start(kept);
        let changes = change(&load, &job, &certificates, bench).await?;
        shaking.stop();
        ensure!(changes == bench.changes, "the load ended after {changes} of {} changes", bench.changes);
        Ok(load.finish(LIMIT).await)
    };
    let (tally, mut figures) = window::around(&process, bench, storm).await?;
    let handshakes = shaking.finish(Duration::from_secs(10)).await;
    window::tell_failures(&handshakes);
    last_change_holds(&job, &secure, &certificates, &process, bench).await?;
    figures.insert(Figure::Changes, bench.changes.into());
    figures.insert(Figure::Requests, (tally.answered() + handshakes.answered()) as f64);
    figures.insert(Figure::Failures, (tally.failed() + handshakes.failed()) as f64);
    // CPU of the changes and of the handshakes is in it: not comparable with anything.
    figures.remove(&Figure::CpuPerRequest);
    Ok(figures)
}

/// Spreads the changes over the requests; returns how many were made.
async fn change(load: &Load, job: &Job, certificates: &[Certificate], bench: &Bench) -> Result<u32> {
    let deadline = Instant::now() + LIMIT;
    for number in 0..bench.changes {
        let due = bench.requests * u64::from(number) / u64::from(bench.changes);
        while load.answered() < due {
            if load.is_over() || Instant::now() > deadline {
                return Ok(number);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        one_change(number, job, certificates)?;
    }
    Ok(bench.changes)
}

fn one_change(number: u32, job: &Job, certificates: &[Certificate]) -> Result<()> {
    match number % 3 {
        0 => {
            let prefix = format!("/come-and-go/{number}");
            sluice::write(job, "other.yaml", &sluice::route("other", sluice::host(), &prefix, None, job))
        }
        1 => sluice::write(job, "watched.yaml", &watched(number, job)),
        _ => sluice::write(job, "certificate.yaml", &sluice::secret(certificate_of(number, certificates)?)),
    }
}

fn watched(version: u32, job: &Job) -> String {
    sluice::route("watched", sluice::host(), "/", Some(version), job)
}

fn certificate_of(number: u32, certificates: &[Certificate]) -> Result<&Certificate> {
    certificates.get(number as usize / 3 % CERTIFICATES).context("no certificate")
}

/// The proxy followed to the end: the newest filter answers and the newest certificate is shown.
async fn last_change_holds(
    job: &Job,
    secure: &Target,
    certificates: &[Certificate],
    process: &Process,
    bench: &Bench,
) -> Result<()> {
    let last = |kind: u32| (0..bench.changes).rev().find(|number| number % 3 == kind);
    if let Some(version) = last(1) {
        let request: Rc<[_]> = job.routes.requests();
        let mut watch = Watch::open(&job.plain_target(), request[0].to_vec(), job.body_bytes).await?;
        watch.until_version(version, process).await.context("the last filter does not hold")?;
    }
    if let Some(number) = last(2) {
        let expected = &certificate_of(number, certificates)?.der;
        let deadline = Instant::now() + Duration::from_secs(5);
        while Link::connect(secure, None).await?.certificate() != Some(expected) {
            ensure!(Instant::now() < deadline, "the last certificate does not hold");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

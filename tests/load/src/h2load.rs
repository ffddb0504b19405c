//! HTTP/2 load by `h2load` (nghttp2): started for a fixed number of requests, its log read for exact percentiles.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::generator::Tally;
use crate::peers::{Job, local};

const CONNECTIONS: u64 = 16;
const STREAMS_EACH: u64 = 10;
/// Requests of the calibrating run, which also warms the proxy up.
const CALIBRATION: u64 = 5_000;
/// Most requests of one run.
const MOST_REQUESTS: f64 = 5e6;
/// Longest run; h2load is ended then.
const LIMIT: Duration = Duration::from_secs(300);

/// How many requests take about `length` on this proxy.
pub(crate) async fn calibrate(job: &Job, length: Duration) -> Result<u64> {
    let tally = run(job, CALIBRATION).await?;
    Ok((tally.rate() * length.as_secs_f64()).clamp(CALIBRATION as f64, MOST_REQUESTS) as u64)
}

/// Sends `requests` to the TLS listener of `job`.
pub(crate) async fn run(job: &Job, requests: u64) -> Result<Tally> {
    let (port, _) = job.tls.as_ref().context("HTTP/2 needs a TLS listener")?;
    let mut command = Command::new("h2load");
    command.args(["-c", &CONNECTIONS.to_string(), "-m", &STREAMS_EACH.to_string(), "--groups", "X25519"]);
    command.args(["--tls13-ciphers", "TLS_AES_256_GCM_SHA384"]);
    command.arg(format!("--connect-to={}", local(*port)));
    command.arg(format!("https://one.load.test:{port}/items"));
    send(command, "h2", requests, job.body_bytes, &job.file("h2load.log")).await
}

/// Has `command`, an h2load, send `requests` by `protocol` (`h2`, or `h2c` without TLS) that are each answered with a body of
/// `body_bytes`; it writes to `log`.
pub(crate) async fn send(
    mut command: Command,
    protocol: &str,
    requests: u64,
    body_bytes: u64,
    log: &Path,
) -> Result<Tally> {
    // h2load appends.
    std::fs::File::create(log)?;
    command.args(["-t", "1", "-n", &requests.to_string()]).arg(format!("--log-file={}", log.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.context("h2load does not end")?;
    let output = output.context("cannot run h2load (package nghttp2-client)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "h2load: {text}{}", String::from_utf8_lossy(&output.stderr));
    let summary = Summary::parse(&text).with_context(|| format!("h2load said something else: {text}"))?;
    let agreed = format!("Application protocol: {protocol}\n");
    ensure!(text.contains(&agreed), "the proxy did not agree to HTTP/2: {text}");
    ensure!(
        summary.succeeded < requests || summary.data_bytes == requests * body_bytes,
        "{} body bytes for {requests} answers",
        summary.data_bytes
    );
    let failed = requests.saturating_sub(summary.succeeded);
    let failures = if failed > 0 { vec![("h2load: not 2xx".to_owned(), failed)] } else { vec![] };
    let failures = BTreeMap::from_iter(failures);
    Ok(Tally::of(latencies(log)?.into_iter(), failures, summary.elapsed))
}

#[derive(Debug, PartialEq)]
struct Summary {
    elapsed: Duration,
    succeeded: u64,
    data_bytes: u64,
}

impl Summary {
    fn parse(text: &str) -> Option<Self> {
        let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let elapsed = seconds(line("finished in ")?.split(',').next()?)?;
        let succeeded = line("status codes: ")?.split(' ').next()?.parse().ok()?;
        let data = line("traffic: ")?.rsplit(", ").next()?;
        let data_bytes = data.split(['(', ')']).nth(1)?.parse().ok()?;
        Some(Self { elapsed: Duration::from_secs_f64(elapsed), succeeded, data_bytes })
    }
}

/// "1.25s" or "250.00ms" in seconds.
fn seconds(text: &str) -> Option<f64> {
    let (digits, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let scale = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * scale)
}

/// Latencies of the 200 answers in µs: the third column of a log line, behind start time and status.
fn latencies(log: &Path) -> Result<Vec<u64>> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    let latency = |line: &str| {
        let mut fields = line.split('\t').skip(1);
        (fields.next()? == "200").then(|| fields.next()?.parse().ok())?
    };
    Ok(text.lines().filter_map(latency).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_summary_is_read() {
        let text = "starting benchmark...\n\nfinished in 612.50ms, 8163.27 req/s, 8.44MB/s\n\
            requests: 5000 total, 5000 started, 5000 done, 4990 succeeded, 10 failed, 0 errored, 0 timeout\n\
            status codes: 4990 2xx, 0 3xx, 0 4xx, 10 5xx\n\
            traffic: 5.17MB (5420000) total, 43.95KB (45000) headers (space savings 94.38%), 4.88MB (5120000) data\n";
        let expected =
            Summary { elapsed: Duration::from_micros(612_500), succeeded: 4_990, data_bytes: 5_120_000 };
        assert_eq!(Summary::parse(text).unwrap(), expected);
    }

    #[test]
    fn only_good_answers_have_a_latency() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(
            &log,
            "1700000000000000\t200\t350\n1700000000000001\t503\t20\n1700000000000002\t-1\t9\n",
        )
        .unwrap();
        assert_eq!(latencies(&log).unwrap(), [350]);
    }

    #[test]
    fn other_words_are_refused() {
        assert_eq!(Summary::parse("h2load: command not found"), None);
    }
}

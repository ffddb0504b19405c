//! CPU cores: pinning, and how busy one was with other things than the proxy under test.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Clock ticks per second of `/proc` on Linux (`USER_HZ`).
pub(super) const TICKS_PER_SECOND: u64 = 100;

/// Pins this process to `core`, and with it every thread and child that it starts afterwards.
pub(crate) fn pin_this_process(core: usize) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &std::process::id().to_string()])
        .stdout(std::process::Stdio::null())
        .status()
        .context("cannot run taskset (package util-linux)")?;
    ensure!(status.success(), "cannot pin to core {core}: does it exist?");
    Ok(())
}

/// Waits until `cores` have been nearly idle for a moment, at most `limit`. Nothing of ours may run meanwhile.
pub(crate) async fn until_quiet(cores: [usize; 2], limit: Duration) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(200);
    const MOST_BUSY: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        let before = [busy(cores[0])?, busy(cores[1])?];
        tokio::time::sleep(LOOK).await;
        if busy(cores[0])? - before[0] <= MOST_BUSY && busy(cores[1])? - before[1] <= MOST_BUSY {
            break;
        }
    }
    Ok(())
}

/// CPU time of this process and of its children that have ended.
pub(crate) fn own_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    super::process::cpu_time(&stat).context("/proc/self/stat has no CPU time")
}

/// Time since boot that `core` was not idle, its stolen time included.
pub(crate) fn busy(core: usize) -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&text, core).with_context(|| format!("/proc/stat has no core {core}"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    // man 5 proc: user nice system idle iowait irq softirq steal guest guest_nice (guest is within user)
    Some(ticks.iter().take(8).sum::<u64>() - ticks.get(3)? - ticks.get(4)?)
}

/// One line about this machine for the report.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = cpu.lines().filter(|line| line.starts_with("processor")).count().max(cores);
    format!("{all} cores, {}", model.map_or("unknown CPU", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 1 5 100 7 2 3 4 6 0\ncpu10 1 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(busy_ticks(stat, 0), Some(10 + 1 + 5 + 2 + 3 + 4));
        assert_eq!(busy_ticks(stat, 10), Some(1));
        assert_eq!(busy_ticks(stat, 1), None);
    }
}

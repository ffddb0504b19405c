//! A proxy under test as a child process: started on its core, measured with its children, and always ended.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cores::TICKS_PER_SECOND;

/// What a process and all below it have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time, with that of children that have ended.
    pub(crate) cpu: Duration,
    /// Resident memory, KiB; what several processes of one proxy share is counted once.
    pub(crate) memory_kib: u64,
    /// Most resident memory so far, KiB.
    pub(crate) peak_memory_kib: u64,
}

/// What memory of one process is resident, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// All of it (VmRSS).
    pub(crate) resident_kib: u64,
    /// What is its own alone (RssAnon).
    pub(crate) own_kib: u64,
    /// Pages of files, its program above all, which processes of one program share (RssFile).
    pub(crate) file_kib: u64,
    /// All of it, each shared page divided among those who share it (Pss).
    pub(crate) proportional_kib: u64,
}

impl Memory {
    fn read(status: &str, rollup: &str) -> Self {
        Self {
            resident_kib: kib(status, "VmRSS:"),
            own_kib: kib(status, "RssAnon:"),
            file_kib: kib(status, "RssFile:"),
            proportional_kib: kib(rollup, "Pss:"),
        }
    }
}

/// A running child. Dropping it kills it and everything below it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `core`; what it prints goes to `output.log` in `folder`. The kernel ends it when this
    /// program dies without a chance to clean up.
    pub(crate) fn start(command: &Command, core: usize, folder: &Path) -> Result<Self> {
        Self::start_on(command, &core.to_string(), folder.join("output.log"))
    }

    /// The same on every core of this process; what it prints goes to `log`.
    pub(crate) fn start_anywhere(command: &Command, log: PathBuf) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::start_on(command, &format!("0-{}", cores - 1), log)
    }

    fn start_on(command: &Command, cores: &str, log: PathBuf) -> Result<Self> {
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", cores, "setpriv", "--pdeathsig", "TERM"]);
        pinned.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                pinned.env(name, value);
            }
        }
        pinned.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = pinned.spawn().context("cannot run taskset (package util-linux)")?;
        Ok(Self { child, log })
    }

    /// The end of what it printed, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(1000)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }

    /// How many lines of what it printed hold these words.
    pub(crate) fn lines_with(&self, words: &str) -> usize {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().filter(|line| line.contains(words)).count()
    }

    /// Its exit status, once it has ended.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end, at most `limit`; `None`: it is still there.
    pub(crate) async fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends it a signal by name ("TERM").
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        signal(name, &[self.child.id()])
    }

    /// What it and its children have used until now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let mut sum = Usage::default();
        let pids = tree(self.child.id());
        let mut shared_kib = 0;
        for pid in &pids {
            // A child may end while we look; its time is then in its parent's.
            let (Ok(stat), Ok(status)) = (read(*pid, "stat"), read(*pid, "status")) else { continue };
            sum.cpu += stat_fields(&stat).map(|fields| fields.cpu).unwrap_or_default();
            let resident_kib = kib(&status, "VmRSS:");
            sum.memory_kib += resident_kib;
            sum.peak_memory_kib += kib(&status, "VmHWM:");
            if pids.len() > 1
                && let Ok(rollup) = read(*pid, "smaps_rollup")
            {
                shared_kib += resident_kib.saturating_sub(kib(&rollup, "Pss:"));
            }
        }
        if sum.memory_kib == 0 {
            bail!("the proxy has ended: {}", self.last_words());
        }
        sum.memory_kib -= shared_kib;
        sum.peak_memory_kib -= shared_kib;
        Ok(sum)
    }

    /// Its memory, without that of children.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let files = (read(self.child.id(), "status"), read(self.child.id(), "smaps_rollup"));
        let (Ok(status), Ok(rollup)) = files else { bail!("it has ended: {}", self.last_words()) };
        Ok(Memory::read(&status, &rollup))
    }

    /// Waits until its memory has not changed by more than 64 KiB for 300 ms, at most 3 s.
    pub(crate) async fn settled_usage(&self) -> Result<Usage> {
        let mut last = self.usage()?;
        let mut same = 0;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.usage()?;
            same = if now.memory_kib.abs_diff(last.memory_kib) <= 64 { same + 1 } else { 0 };
            last = now;
            if same == 3 {
                break;
            }
        }
        Ok(last)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The whole tree by id: a master that is killed alone leaves its workers behind.
            let _ = signal("KILL", &tree(self.child.id()));
            let _ = self.child.wait();
        }
    }
}

fn signal(name: &str, pids: &[u32]) -> Result<()> {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).args(pids.iter().map(u32::to_string));
    let status = kill.stderr(Stdio::null()).status().context("cannot run kill (package procps)")?;
    if !status.success() {
        bail!("cannot send {name} to {pids:?}");
    }
    Ok(())
}

fn read(pid: u32, file: &str) -> std::io::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}"))
}

/// CPU time in a `/proc/PID/stat`, with that of children that have ended.
pub(super) fn cpu_time(stat: &str) -> Option<Duration> {
    stat_fields(stat).map(|fields| fields.cpu)
}

struct StatFields {
    parent: u32,
    cpu: Duration,
}

/// man 5 proc_pid_stat; the name in parentheses may hold anything, so fields count from the last parenthesis.
fn stat_fields(stat: &str) -> Option<StatFields> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(StatFields {
        parent: fields.get(1)?.parse().ok()?,
        cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
    })
}

fn kib(lines: &str, name: &str) -> u64 {
    let line = lines.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// `root` and every process below it.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(fields) = read(pid, "stat").ok().as_deref().and_then(stat_fields) {
            children.entry(fields.parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let below = children.remove(pid).unwrap_or_default();
        found.extend(below);
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_count_from_the_last_parenthesis() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 20 10 20 0 1 0 1 1 1 1";
        let fields = stat_fields(stat).unwrap();
        assert_eq!(fields.parent, 7);
        assert_eq!(fields.cpu, Duration::from_millis(2_300));
    }

    #[test]
    fn kinds_of_memory_are_told_apart() {
        let status = "VmHWM:\t 9000 kB\nVmRSS:\t    8000 kB\nRssAnon:\t    3000 kB\nRssFile:\t    5000 kB\n";
        let memory = Memory::read(status, "Rss:    8000 kB\nPss:    5500 kB\nPss_Dirty: 1 kB\n");
        let all = [memory.resident_kib, memory.own_kib, memory.file_kib, memory.proportional_kib];
        assert_eq!(all, [8_000, 3_000, 5_000, 5_500]);
    }

    #[test]
    fn a_started_process_is_measured_with_its_children_and_ended_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let process = Process::start(&command, 0, folder.path()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        // taskset, setpriv and sh follow each other in one process; then two children appear.
        while tree(process.child.id()).len() < 3 {
            assert!(Instant::now() < deadline, "{}", process.last_words());
            std::thread::yield_now();
        }
        assert!(process.usage().unwrap().memory_kib > 0);
        let pids = tree(process.child.id());
        drop(process);
        let alive = |pid: &u32| read(*pid, "status").is_ok_and(|status| !status.contains("State:\tZ"));
        while pids.iter().any(alive) {
            assert!(Instant::now() < deadline, "a process outlived its guard");
            std::thread::yield_now();
        }
    }
}

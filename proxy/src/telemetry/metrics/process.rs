//! What the kernel says about this process, read at each scrape from `/proc`.
//!
//! Where `/proc` is missing or speaks otherwise, the value is left out; nothing here fails.

use std::fs;

/// Clock ticks in a second in `/proc/*/stat`: part of Linux's interface to user space on every architecture that
/// Sluice runs on, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at the process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// This process now.
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (own, status) = (text("/proc/self/stat"), text("/proc/self/status"));
        Self {
            cpu_seconds: cpu_seconds(&own),
            resident_bytes: status_number(&status, "VmRSS:").map(|kib| kib * 1_024),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| {
                // The directory that is being read has a descriptor of its own.
                (entries.count() as u64).saturating_sub(1)
            }),
            max_fds: max_fds(&text("/proc/self/limits")),
            threads: status_number(&status, "Threads:"),
            start_seconds: start_seconds(&own, &text("/proc/stat")),
        }
    }
}

/// Field of `/proc/self/stat` by its number in proc(5). The second field, the program's name, may hold spaces and
/// parentheses, so that counting starts after the last `)`.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(own: &str, system: &str) -> Option<f64> {
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(own, 22)? / TICKS_PER_SECOND)
}

fn status_number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, cpu_seconds, max_fds, start_seconds, status_number};

    const STAT: &str = "7 (a ) b) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 9 0 1200 0 0";

    #[test]
    fn a_name_with_spaces_and_parentheses_shifts_no_field() {
        assert_eq!(cpu_seconds(STAT), Some(3.0));
        assert_eq!(start_seconds(STAT, "cpu 1 2\nbtime 1000\n"), Some(1012.0));
    }

    #[test]
    fn numbers_are_found_by_their_names() {
        assert_eq!(status_number("Name:\tx\nVmRSS:\t  12 kB\nThreads:\t4\n", "VmRSS:"), Some(12));
        assert_eq!(max_fds("Max open files            1024        4096       files\n"), Some(1024));
        assert_eq!(max_fds("Max open files            unlimited   unlimited  files\n"), None);
    }

    #[test]
    fn garbage_is_left_out() {
        for text in ["", ")", "1 (x) S", "1 (x", "VmRSS:", "Max open files"] {
            assert_eq!(cpu_seconds(text), None, "{text}");
            assert_eq!(start_seconds(text, text), None, "{text}");
            assert_eq!((status_number(text, "VmRSS:"), max_fds(text)), (None, None), "{text}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{process:?}");
        assert!(process.threads.is_some_and(|threads| threads >= 1), "{process:?}");
        assert!(process.open_fds.is_some_and(|fds| fds >= 3), "{process:?}");
        assert!(process.start_seconds.is_some_and(|start| start > 1e9), "{process:?}");
        assert!(process.cpu_seconds.is_some(), "{process:?}");
    }
}

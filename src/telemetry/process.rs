//! The process's own numbers, as Prometheus' client libraries name them, from `/proc/self`.

use std::fs;

/// What the operating system says of this process. What it does not say is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// CPU time in user and system mode, in seconds.
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub resident: Option<f64>,
    /// Virtual memory in bytes.
    pub virtual_memory: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// Maximum open file descriptors.
    pub max_fds: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
    /// When it started, in seconds since 1970.
    pub start: Option<f64>,
}

impl Process {
    /// As it is now.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let ticks = ticks_per_second();
        let booted = booted(&fs::read_to_string("/proc/stat").unwrap_or_default());
        Self {
            max_fds: max_fds(&fs::read_to_string("/proc/self/limits").unwrap_or_default()),
            // The folder itself is open while it is read.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|all| all.count().saturating_sub(1) as f64),
            ..Self::from_stat(&stat, ticks, booted)
        }
    }

    /// From `/proc/self/stat` (`man 5 proc`). The second field is a name, which may hold spaces and brackets.
    fn from_stat(stat: &str, ticks: f64, booted: Option<f64>) -> Self {
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        // The first of these is the third.
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
        let page = page_bytes();
        Self {
            cpu: field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks),
            threads: field(20),
            start: field(22).zip(booted).map(|(start, booted)| booted + start / ticks),
            virtual_memory: field(23),
            resident: field(24).map(|pages| pages * page),
            ..Self::default()
        }
    }
}

/// The soft limit in `/proc/self/limits`.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// When the machine started, in seconds since 1970, as `/proc/stat` says.
fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

fn ticks_per_second() -> f64 {
    // SAFETY: it reads a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

fn page_bytes() -> f64 {
    // SAFETY: it reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if bytes > 0 { bytes as f64 } else { 4096.0 }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat =
            "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 2000 8192 3 18446744073709551615";
        let process = Process::from_stat(stat, 100.0, Some(1_000.0));
        assert_eq!((process.cpu, process.threads, process.start), (Some(2.0), Some(9.0), Some(1_020.0)));
        assert_eq!((process.virtual_memory, process.resident), (Some(8192.0), Some(3.0 * page_bytes())));
        assert_eq!(Process::from_stat("", 100.0, None), Process::default());
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024       4096     files\n";
        assert_eq!((max_fds(limits), max_fds("")), (Some(1024.0), None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_known() {
        let process = Process::now();
        assert!(
            process.resident > Some(1e6) && process.threads >= Some(1.0) && process.open_fds >= Some(3.0)
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - process.start.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}

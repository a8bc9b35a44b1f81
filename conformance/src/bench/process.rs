//! What a process uses, as Linux tells in `/proc`.

use std::fs;

use anyhow::{Context as _, Result};

/// What `/proc/…/stat` counts in: 100 to a second on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that is watched, with all its threads.
#[derive(Debug)]
pub(super) struct Watched {
    pid: u32,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    /// Seconds of processor time.
    pub(super) cpu_seconds: f64,
    /// The most memory that was resident, in MiB.
    pub(super) peak_mib: f64,
}

impl Usage {
    /// What was used between two looks.
    pub(super) fn between(before: Self, after: Self) -> Self {
        Self { cpu_seconds: after.cpu_seconds - before.cpu_seconds, peak_mib: after.peak_mib }
    }
}

impl Watched {
    /// Watches a process of this machine.
    pub(super) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Lets the peak of memory begin at what is resident now. Where that is not allowed, because the process
    /// is somebody else's, the peak stays that of its whole life.
    pub(super) fn forget_peak(&self) {
        let _ = fs::write(self.path("clear_refs"), "5");
    }

    /// What it has used.
    pub(super) fn usage(&self) -> Result<Usage> {
        let read = |file: &str| {
            let path = self.path(file);
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let cpu_seconds = cpu_seconds(&read("stat")?).context("odd /proc/…/stat")?;
        let peak_mib = peak_mib(&read("status")?).context("odd /proc/…/status")?;
        Ok(Usage { cpu_seconds, peak_mib })
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

/// User and system time: the 14th and 15th field (proc(5)). The second is a name, which may have anything
/// in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn peak_mib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes_is_read() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 9 0 77 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(peak_mib("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
        assert_eq!(peak_mib("VmHWM:\tmuch"), None);
    }

    #[test]
    fn this_process_can_be_watched() {
        let usage = Watched::new(std::process::id()).usage().unwrap();
        assert!(usage.peak_mib > 0.0 && usage.cpu_seconds >= 0.0, "{usage:?}");
    }
}

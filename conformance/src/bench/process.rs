//! What a process uses, as Linux tells in `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use crate::servers::{Server, database::Backends};

/// What `/proc/…/stat` counts in: 100 to a second on every architecture that Linux runs on today.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a process is looked at to see whether it still does something, and how often at most.
const GLANCE: Duration = Duration::from_millis(200);
const GLANCES: usize = 25;

/// A process that is watched, with all its threads.
#[derive(Debug)]
pub(crate) struct Watched {
    pid: u32,
    /// The database's processes that work for it alone.
    backends: Option<Backends>,
}

/// What a process has used since it began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Seconds of processor time.
    pub(crate) cpu_seconds: f64,
    /// Those of the database's processes that work for it.
    pub(crate) database_seconds: f64,
    /// The most memory that was resident, in MiB.
    pub(crate) peak_mib: f64,
}

impl Usage {
    /// What was used between two looks.
    pub(crate) fn between(before: Self, after: Self) -> Self {
        Self {
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            // A connection that was closed in the meantime has taken its part with it.
            database_seconds: (after.database_seconds - before.database_seconds).max(0.0),
            peak_mib: after.peak_mib,
        }
    }
}

impl Watched {
    /// Watches a process of this machine.
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid, backends: None }
    }

    /// Watches a server that was started here, and what works for it in its database.
    pub(crate) fn server(server: &Server) -> Result<Self> {
        Ok(Self { pid: server.pid()?, backends: server.backends() })
    }

    /// Lets the peak of memory begin at what is resident now. Where that is not allowed, because the process
    /// is somebody else's, the peak stays that of its whole life.
    pub(crate) fn forget_peak(&self) {
        let _ = fs::write(self.path("clear_refs"), "5");
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let cpu_seconds = cpu_seconds(&self.read("stat")?).context("odd /proc/…/stat")?;
        let peak_mib = mib(&self.read("status")?, "VmHWM:").context("odd /proc/…/status")?;
        let database_seconds = self.backends.as_ref().map_or(Ok(0.0), seconds_of_all)?;
        Ok(Usage { cpu_seconds, database_seconds, peak_mib })
    }

    /// What it has used once it does nothing more of what it was asked.
    pub(crate) async fn settled(&self) -> Result<Usage> {
        let mut last = self.usage()?;
        for _ in 0..GLANCES {
            tokio::time::sleep(GLANCE).await;
            let now = self.usage()?;
            if now.cpu_seconds - last.cpu_seconds < 2.0 / TICKS_PER_SECOND {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// How much memory is resident now, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        mib(&self.read("status")?, "VmRSS:").context("odd /proc/…/status")
    }

    /// How many files it has open; every connection is one.
    pub(crate) fn descriptors(&self) -> Result<usize> {
        let path = self.path("fd");
        Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.path(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
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

/// One that has ended since they were counted is left out.
fn seconds_of_all(backends: &Backends) -> Result<f64> {
    let stats = backends.pids()?.into_iter();
    let stats = stats.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    Ok(stats.filter_map(|stat| cpu_seconds(&stat)).sum())
}

fn mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
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
        assert_eq!(mib("Name:\tx\nVmHWM:\t    2048 kB\n", "VmHWM:"), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
        assert_eq!(mib("VmHWM:\tmuch", "VmHWM:"), None);
    }

    #[test]
    fn this_process_can_be_watched() {
        let watched = Watched::new(std::process::id());
        let usage = watched.usage().unwrap();
        assert!(watched.resident_mib().unwrap() > 0.0);
        assert!(usage.peak_mib > 0.0 && usage.cpu_seconds >= 0.0, "{usage:?}");
    }
}

//! One run of a container: a process group, its log, and how it ended.

use std::{
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Command, sync::watch, task::JoinSet, time::timeout};

use super::{
    log::{ERROR, Log, OUTPUT},
    watchdog::Watchdog,
};

/// How long the log of a process that ended may still flow. A process that left its group could keep
/// the pipes open for ever.
const LOG_LIMIT: Duration = Duration::from_secs(1);

/// A process group that runs, or that has ended.
#[derive(Clone, Debug)]
pub(super) struct Run {
    group: Pid,
    paused: Arc<AtomicBool>,
    end: watch::Receiver<Option<i32>>,
}

impl Run {
    /// Starts `command` as the leader of a process group of its own.
    pub(super) fn start(
        mut command: Command,
        log: Arc<Log>,
        watchdog: Arc<Watchdog>,
    ) -> Result<Self> {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let id = i32::try_from(child.id().context("the process ended at once")?)?;
        let group = Pid::from_raw(id).context("process 0")?;
        watchdog.guard(id)?;
        let mut logs = JoinSet::new();
        if let Some(output) = child.stdout.take() {
            let log = log.clone();
            logs.spawn(async move { log.record(OUTPUT, output).await });
        }
        if let Some(error) = child.stderr.take() {
            logs.spawn(async move { log.record(ERROR, error).await });
        }
        let (sender, end) = watch::channel(None);
        tokio::spawn(async move {
            let status = child.wait().await;
            // What the leader started and did not wait for ends with it, as in a container.
            signal_group(group, Signal::KILL);
            if let Err(error) = watchdog.release(id) {
                tracing::warn!(%error, "a process group stays with the watchdog");
            }
            let _ = timeout(LOG_LIMIT, logs.join_all()).await;
            sender.send_replace(Some(status.map_or(-1, exit_code)));
        });
        Ok(Self { group, paused: Arc::default(), end })
    }

    /// The process id of the leader.
    pub(super) fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// The exit code, when the run has ended.
    pub(super) fn ended(&self) -> Option<i32> {
        *self.end.borrow()
    }

    /// Whether [`Self::pause`] holds it.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Freezes every process of the group.
    pub(super) fn pause(&self) {
        self.paused.store(true, Ordering::Release);
        signal_group(self.group, Signal::STOP);
    }

    /// Lets the group go on.
    pub(super) fn unpause(&self) {
        self.paused.store(false, Ordering::Release);
        signal_group(self.group, Signal::CONT);
    }

    /// Sends every process of the group a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            signal_group(self.group, signal);
        }
    }

    /// Kills the group and waits until it is gone.
    pub(super) async fn kill(&self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }

    /// Asks the group to end, and kills it when it has not within the time.
    pub(super) async fn stop(&self, limit: Duration) {
        self.signal(Signal::TERM);
        self.unpause();
        if timeout(limit, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    async fn wait(&self) {
        // An error means that the sender is gone, which it is only after the end.
        let _ = self.end.clone().wait_for(Option::is_some).await;
    }
}

/// A group that is gone already needs no signal.
fn signal_group(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
}

/// As a shell tells it: 128 and the signal's number for a process that was killed.
fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(script: &str) -> (tempfile::TempDir, Arc<Log>, Run) {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(&directory.path().join("log")).await.unwrap());
        let watchdog = Watchdog::start(&directory.path().join("watched")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let run = Run::start(command, log.clone(), Arc::new(watchdog)).unwrap();
        (directory, log, run)
    }

    #[tokio::test]
    async fn the_exit_code_and_the_whole_log_are_there_at_the_end() {
        let (_directory, log, run) = start("echo out; echo error >&2; exit 3").await;
        run.wait().await;
        assert_eq!(run.ended(), Some(3));
        assert_eq!(log.read(&[OUTPUT]).await.unwrap(), b"\x01\0\0\0\0\0\0\x04out\n");
        assert_eq!(log.read(&[ERROR]).await.unwrap(), b"\x02\0\0\0\0\0\0\x06error\n");
    }

    #[tokio::test]
    async fn a_kill_takes_the_children_too() {
        let (_directory, log, run) = start("sleep 600 & echo $!; wait").await;
        while log.read(&[OUTPUT]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let frame = log.read(&[OUTPUT]).await.unwrap();
        let child = String::from_utf8_lossy(&frame[8..]).trim().to_owned();
        run.kill().await;
        assert_eq!(run.ended(), Some(137));
        while is_running(&child) {
            tokio::task::yield_now().await;
        }
    }

    /// Whether there is a process that has not ended. A killed one takes a moment to end.
    fn is_running(id: &str) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        !(state.is_empty() || state.contains(") Z ") || state.contains(") X "))
    }

    #[tokio::test]
    async fn a_group_that_does_not_listen_to_term_is_killed() {
        let (_directory, log, run) =
            start("trap '' TERM; echo ready; while :; do sleep 600; done").await;
        while log.read(&[OUTPUT]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        run.stop(Duration::from_millis(50)).await;
        assert_eq!(run.ended(), Some(137));
    }

    #[tokio::test]
    async fn a_paused_group_can_be_stopped() {
        let (_directory, _log, run) = start("sleep 600").await;
        run.pause();
        assert!(run.is_paused());
        run.stop(Duration::from_secs(60)).await;
        assert!(!run.is_paused());
        assert_eq!(run.ended(), Some(143));
    }
}

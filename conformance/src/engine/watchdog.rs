//! A shell that outlives this process and ends what it would leave behind.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

/// Reads `+ GROUP` and `- GROUP`. When its input ends, because this process did, it kills the groups
/// that are left and removes the directory.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=' '
while read -r sign group; do
    case $sign in
        +) groups="$groups$group " ;;
        -) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
    esac
done
for group in $groups; do kill -9 -"$group"; done
rm -rf -- "$1"
"#;

/// The watchdog of one engine.
#[derive(Debug)]
pub(super) struct Watchdog {
    input: Mutex<ChildStdin>,
    _child: Child,
}

impl Watchdog {
    /// Starts the watchdog of `directory`, which is removed when this process ends.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of reach of what a terminal sends to this process's group.
            .process_group(0)
            .spawn()
            .context("cannot start the watchdog")?;
        let input = child.stdin.take().context("the watchdog has no input")?;
        Ok(Self { input: Mutex::new(input), _child: child })
    }

    /// From now on the process group is killed when this process ends.
    pub(super) fn guard(&self, group: i32) -> Result<()> {
        self.say(&format!("+ {group}\n"))
    }

    /// The group is gone: its number may come to belong to somebody else.
    pub(super) fn release(&self, group: i32) -> Result<()> {
        self.say(&format!("- {group}\n"))
    }

    fn say(&self, line: &str) -> Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.write_all(line.as_bytes()).context("the watchdog is gone")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").process_group(0).spawn().unwrap()
    }

    #[test]
    fn it_kills_what_is_guarded_and_removes_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let watched = directory.path().join("watched");
        std::fs::create_dir(&watched).unwrap();
        let (mut first, mut second, mut released) = (sleeper(), sleeper(), sleeper());
        let watchdog = Watchdog::start(&watched).unwrap();
        for child in [&first, &released, &second] {
            watchdog.guard(child.id().try_into().unwrap()).unwrap();
        }
        watchdog.release(released.id().try_into().unwrap()).unwrap();
        drop(watchdog);
        assert_eq!(first.wait().unwrap().code(), None);
        assert_eq!(second.wait().unwrap().code(), None);
        let begun = Instant::now();
        while watched.exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the directory is still there");
            thread::sleep(Duration::from_millis(5));
        }
        // The directory goes last, so a kill would have happened before.
        assert_eq!(released.try_wait().unwrap(), None);
        released.kill().unwrap();
        released.wait().unwrap();
    }
}

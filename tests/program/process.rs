//! Runs the program in a directory of its own, on free ports.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// No step of a test takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command with no settings from the environment of the tests.
pub(crate) fn starling() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A running server.
pub(crate) struct Server {
    pub(crate) directory: TempDir,
    pub(crate) client: String,
    pub(crate) federation: String,
    /// Printed at the first start.
    pub(crate) registration_token: Option<String>,
    child: Child,
}

impl Server {
    /// Starts a server with settings beside those for free ports.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    /// Starts a server in a directory that the test prepared. A `starling.toml` there is used.
    pub(crate) async fn start_in(directory: TempDir, settings: &[(&str, &str)]) -> Self {
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let mut variables = BTreeMap::from([
            ("STARLING__CLIENT__LISTEN", "127.0.0.1:0"),
            ("STARLING__ADMIN__LISTEN", "[]"),
            ("STARLING__FEDERATION__LISTEN", "127.0.0.1:0"),
        ]);
        variables.extend(settings.iter().copied());
        let mut command = starling();
        command.arg("serve").current_dir(&directory).envs(variables);
        if directory.path().join("starling.toml").exists() {
            command.args(["--config", "starling.toml"]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut client, mut federation) = (String::new(), String::new());
        let mut registration_token = None;
        while federation.is_empty() {
            let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, token)) = line.split_once("shown only now: ") {
                registration_token = Some(token.to_owned());
            }
            match line.trim().split_once(" API ") {
                Some(("client", address)) => client = address.trim().to_owned(),
                Some(("federation", address)) => federation = address.trim().to_owned(),
                _ => {}
            }
        }
        Self { directory, client, federation, registration_token, child }
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log has `text`.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        self.wait_for_lines(text, 1).await;
    }

    /// Waits until `count` lines of the log have `text`.
    pub(crate) async fn wait_for_lines(&self, text: &str, count: usize) {
        let found = async {
            while self.log().lines().filter(|line| line.contains(text)).count() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(PATIENCE, found).await.is_ok(), "no {text:?} in {}", self.log());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().unwrap())).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the exit and gives back the status code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }
}

/// A client that accepts every certificate, and shows it.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().tls_danger_accept_invalid_certs(true).tls_info(true).build().unwrap()
}

//! A PostgreSQL server of a test's own, which may be stopped, killed and started again.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::{is_root, ports};
use crate::random;

/// Where Debian keeps the programs of the server, outside the search path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// How a PostgreSQL ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It rolls back what is under way and closes every connection.
    Fast,
    /// It drops everything, and recovers when it starts again.
    Crash,
}

/// A server that is gone, with all its data, when this value is dropped, or soon after the test run dies.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    password: String,
    watchdog: Option<Child>,
}

impl Postgres {
    /// Makes one and starts it.
    pub fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("starling-postgres-").tempdir()?;
        let (programs, port, password) = (programs()?, ports::free()?, random::suffix()?);
        let mut server = Self { directory, programs, port, password, watchdog: None };
        fs::write(server.path("password"), &server.password)?;
        fs::create_dir(server.path("data"))?;
        if is_root()? {
            let chown =
                Command::new("chown").args(["-R", "postgres:"]).arg(server.root()).status()?;
            ensure!(chown.success(), "chown: {chown}");
        }
        let mut initdb = server.command("initdb")?;
        initdb.arg("-D").arg(server.path("data")).args(["-U", "starling", "-A", "scram-sha-256"]);
        initdb.arg("--pwfile").arg(server.path("password"));
        initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        run(&mut initdb)?;
        server.watchdog = Some(server.watch()?);
        server.resume()?;
        Ok(server)
    }

    /// How clients find it.
    pub fn url(&self) -> String {
        format!("postgres://starling:{}@{}/postgres", self.password, ports::loopback(self.port))
    }

    /// Starts it again, and waits until it takes connections.
    pub fn resume(&self) -> Result<()> {
        let mut start = self.pg_ctl()?;
        let data = self.path("data");
        let options = format!("-h 127.0.0.1 -p {} -k {}", self.port, data.display());
        start.arg("-l").arg(self.path("data/log")).args(["-w", "-s", "-o", &options, "start"]);
        run(&mut start)
    }

    /// Ends it, and waits until it is gone.
    pub fn end(&self, end: End) -> Result<()> {
        let mode = match end {
            End::Fast => "fast",
            End::Crash => "immediate",
        };
        run(self.pg_ctl()?.args(["-w", "-s", "-m", mode, "stop"]))
    }

    fn pg_ctl(&self) -> Result<Command> {
        let mut command = self.command("pg_ctl")?;
        command.arg("-D").arg(self.path("data"));
        Ok(command)
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Result<Command> {
        let program = self.programs.join(program);
        let mut command = match is_root()? {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
                command.arg(program);
                command
            }
            false => Command::new(program),
        };
        // An account without rights may not be where the test is.
        command.current_dir("/");
        Ok(command)
    }

    /// A shell that outlives the test run, and ends what it left.
    fn watch(&self) -> Result<Child> {
        let script = format!(
            "trap '' INT; read -r _; kill -9 $(head -1 '{0}/data/postmaster.pid') 2>/dev/null; \
             rm -rf '{0}'",
            self.root().display()
        );
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", &script]).stdin(Stdio::piped());
        watchdog.stdout(Stdio::null()).stderr(Stdio::null());
        watchdog.spawn().context("cannot start the watchdog shell")
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.end(End::Crash);
        if let Some(watchdog) = &mut self.watchdog {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
    }
}

/// Where `initdb` and `pg_ctl` are.
fn programs() -> Result<PathBuf> {
    let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = debian.chain(env::split_paths(&path)).collect();
    places.retain(|place| ["initdb", "pg_ctl"].iter().all(|name| place.join(name).is_file()));
    places.into_iter().next().context("PostgreSQL's initdb and pg_ctl are not installed")
}

fn run(command: &mut Command) -> Result<()> {
    // What a server inherits of a pipe would keep it open, so what it says goes to its log.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

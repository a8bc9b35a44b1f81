//! Real server processes: Starling itself, and Synapse as its peer.
//!
//! A [`Spec`] says which server to start and how; [`Spec::start`] gives a [`Server`] that is ready.
//! A server listens on loopback only, keeps all it has in a directory of its own, and is gone with
//! everything that it left when the value is dropped, or soon after the test run dies.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

pub mod bucket;
pub mod ca;
pub mod cut;
pub mod database;
pub mod group;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod starling;
pub mod synapse;

pub use bucket::Buckets;
pub use ca::TestCa;
pub use database::DatabaseKind;
use database::{Backends, PostgresDatabase};
pub use group::ControlGroup;
pub use postgres::Postgres;
use process::Process;

use crate::report;

/// The secret with which both kinds of server let users be registered.
pub const SHARED_SECRET: &str = "registration-secret-of-the-tests";

/// When set, the directories of the servers (configuration, data, log) are kept and named.
pub const KEEP: &str = "STARLING_TEST_KEEP";

/// A server on two cores in a debug build, beside others that start too.
const READY_LIMIT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(5);

/// The kinds of server that the suites can run against.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Kind {
    /// The `starling` binary of this workspace, or the one that `STARLING_BIN` names.
    Starling,
    /// Synapse from `conformance/.venv`, on SQLite.
    Synapse,
}

/// Which server to start, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The kind of server.
    pub kind: Kind,
    /// Where it keeps its data.
    pub database: DatabaseKind,
    /// The PostgreSQL server that its database is on, unless it is that of the environment.
    pub postgres: Option<String>,
    /// Its server name; `localhost:PORT` unless set, which every peer can resolve.
    pub name: String,
    /// The port of its client API, plain HTTP.
    pub client_port: u16,
    /// The port of its federation API, TLS.
    pub federation_port: u16,
    /// Names of other servers and where they are reached (Starling only).
    pub peers: Vec<(String, u16)>,
    /// Further settings by environment, such as `("RATE_LIMITS__ENABLED", "true")` (Starling only).
    pub settings: Vec<(String, String)>,
    /// Other variables of its environment (Starling only).
    pub variables: Vec<(String, String)>,
    /// The directory of the control group that it is started in (Starling only).
    pub group: Option<PathBuf>,
}

impl Spec {
    /// A server of this kind on free ports, on the database that the environment asks for.
    pub fn new(kind: Kind) -> Result<Self> {
        let federation_port = ports::free()?;
        Ok(Self {
            kind,
            database: DatabaseKind::from_env()?,
            postgres: None,
            name: format!("localhost:{federation_port}"),
            client_port: ports::free()?,
            federation_port,
            peers: Vec::new(),
            settings: Vec::new(),
            variables: Vec::new(),
            group: None,
        })
    }

    /// Gives the server a name that only [`Self::with_peer`] makes resolvable.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Lets the server reach `other` by its name.
    pub fn with_peer(mut self, other: &Spec) -> Self {
        self.peers.push((other.name.clone(), other.federation_port));
        self
    }

    /// Sets one setting by its environment name without the prefix `STARLING__`.
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Chooses the database.
    pub fn on(mut self, database: DatabaseKind) -> Self {
        self.database = database;
        self
    }

    /// Gives the server a database on this PostgreSQL.
    pub fn on_postgres(mut self, server: &Postgres) -> Self {
        self.postgres = Some(server.url());
        self.on(DatabaseKind::Postgres)
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self, ca: &TestCa) -> Result<Server> {
        let server = self.prepare(ca)?;
        server.resume().await?;
        Ok(server)
    }

    /// Makes all that the server needs, and does not start it.
    pub fn prepare(self, ca: &TestCa) -> Result<Server> {
        let mut directory = tempfile::Builder::new().prefix("starling-test-").tempdir()?;
        if env::var_os(KEEP).is_some() {
            directory.disable_cleanup(true);
            report::say(&format!("{:?} {} is in {:?}", self.kind, self.name, directory.path()));
        }
        let host = self.name.split(':').next().unwrap_or(&self.name);
        ca.write_certificate(directory.path(), &[host, "localhost", "127.0.0.1"])?;
        let database = match self.database {
            DatabaseKind::Postgres if self.kind == Kind::Starling => {
                Some(PostgresDatabase::create(self.postgres.as_deref())?)
            }
            _ => None,
        };
        match self.kind {
            Kind::Starling => starling::prepare(&self, directory.path(), database.as_ref())?,
            Kind::Synapse => synapse::prepare(&self, directory.path())?,
        }
        Ok(Server { spec: self, directory, database, process: Mutex::new(None) })
    }
}

/// A server that runs, or that was stopped and can be started again on the same data.
#[derive(Debug)]
pub struct Server {
    spec: Spec,
    // Dropped from top to bottom: the process ends before its database and directory go.
    process: Mutex<Option<Process>>,
    database: Option<PostgresDatabase>,
    directory: TempDir,
}

impl Server {
    /// What kind of server this is.
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// The server name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The base URL of the client API, without a slash at the end.
    pub fn client_url(&self) -> String {
        format!("http://{}", ports::loopback(self.spec.client_port))
    }

    /// The port of the federation API on 127.0.0.1.
    pub fn federation_port(&self) -> u16 {
        self.spec.federation_port
    }

    /// The directory of the server's configuration, data and log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The settings that are not in the configuration file, as variables of the environment: for
    /// commands that work beside the server.
    pub fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        let settings = self.spec.settings.iter();
        settings.map(|(name, value)| (format!("STARLING__{name}"), value.as_str()))
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process().as_ref().context("the server does not run")?.pid())
    }

    /// The processes of a PostgreSQL that work for this server.
    pub fn backends(&self) -> Option<Backends> {
        self.database.as_ref().map(PostgresDatabase::backends)
    }

    /// How many bytes of memory the process has had at most, where the system tells.
    pub fn peak_memory(&self) -> Option<u64> {
        let pid = self.process().as_ref()?.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    }

    /// The end of the log, for an error message.
    pub fn log_tail(&self) -> String {
        process::tail(&self.log())
    }

    /// Starts the process again on the same data and ports, and returns how long it took from the
    /// start of the process until the server said that it is ready.
    pub async fn resume(&self) -> Result<Duration> {
        let command = match self.spec.kind {
            Kind::Starling => starling::command(&self.spec, self.directory())?,
            Kind::Synapse => synapse::command(self.directory())?,
        };
        let process = Process::spawn(command, &self.log(), &self.cleanup())?;
        *self.process() = Some(process);
        self.wait_until_ready().await
    }

    /// Ends the process with SIGTERM and returns its exit code.
    pub fn stop(&self) -> Result<Option<i32>> {
        let mut process = self.process().take().context("the server does not run")?;
        let status = process.terminate().with_context(|| self.log_tail())?;
        Ok(status.code())
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&self) -> Result<()> {
        self.process().take().context("the server does not run")?.kill()
    }

    /// Sends the process a signal, such as `HUP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process().as_ref().context("the server does not run")?.signal(name)
    }

    async fn wait_until_ready(&self) -> Result<Duration> {
        let begun = Instant::now();
        let path = match self.spec.kind {
            Kind::Starling => starling::READY_PATH,
            Kind::Synapse => synapse::READY_PATH,
        };
        let url = format!("{}{path}", self.client_url());
        let http = reqwest::Client::builder().no_proxy().build()?;
        while begun.elapsed() < READY_LIMIT {
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(begun.elapsed());
            }
            self.fail_if_ended()?;
            tokio::time::sleep(READY_POLL).await;
        }
        bail!("{} is not ready after {READY_LIMIT:?}:\n{}", self.name(), self.log_tail());
    }

    fn fail_if_ended(&self) -> Result<()> {
        let mut process = self.process();
        let running = process.as_mut().context("the server was stopped while it started")?;
        if let Some(status) = running.ended()? {
            bail!("{} ended at once, {status}:\n{}", self.name(), self.log_tail());
        }
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.directory().join("server.log")
    }

    fn cleanup(&self) -> String {
        let database = self.database.as_ref().map(PostgresDatabase::cleanup);
        let database = database.as_deref().unwrap_or(":");
        if env::var_os(KEEP).is_some() {
            return database.to_owned();
        }
        format!("{database}; rm -rf '{}'", self.directory().display())
    }
}

/// A command that runs as an account without rights when the tests are run by root.
fn unprivileged(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    Ok(command)
}

/// Hands a directory to the account of [`unprivileged`].
fn give_to_unprivileged(directory: &Path) -> Result<()> {
    if !is_root()? {
        return Ok(());
    }
    let status = Command::new("chown").arg("-R").arg("nobody:nogroup").arg(directory).status()?;
    if !status.success() {
        bail!("chown {} failed: {status}", directory.display());
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot start id")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

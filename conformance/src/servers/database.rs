//! The database of a server under test: an SQLite file, or a fresh database on a PostgreSQL server.

use std::{
    env,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use url::Url;

use crate::random;

/// Names the PostgreSQL server of the tests, as `postgres://user:password@host:port/database`. The
/// role needs the right to create databases.
pub const POSTGRES_URL: &str = "STARLING_TEST_POSTGRES_URL";

/// Chooses the database of the tests: `sqlite` (also when unset) or `postgres`.
pub const DATABASE: &str = "STARLING_TEST_DATABASE";

/// Which kind of database a server gets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum DatabaseKind {
    /// A file in the server's data directory.
    #[default]
    Sqlite,
    /// A database of its own on the server that `STARLING_TEST_POSTGRES_URL` names.
    Postgres,
}

impl DatabaseKind {
    /// What `STARLING_TEST_DATABASE` asks for.
    pub fn from_env() -> Result<Self> {
        match env::var(DATABASE).as_deref() {
            Err(_) | Ok("" | "sqlite") => Ok(Self::Sqlite),
            Ok("postgres") => Ok(Self::Postgres),
            Ok(other) => bail!("{DATABASE} is '{other}', neither 'sqlite' nor 'postgres'"),
        }
    }
}

/// A PostgreSQL database that exists as long as this value.
#[derive(Debug)]
pub struct PostgresDatabase {
    server: Url,
    name: String,
}

impl PostgresDatabase {
    /// Creates an empty database with a name of its own, on this server or on that of the environment.
    pub fn create(server: Option<&str>) -> Result<Self> {
        let server = match server {
            Some(server) => server.to_owned(),
            None => env::var(POSTGRES_URL)
                .with_context(|| format!("{POSTGRES_URL} must name a PostgreSQL server"))?,
        };
        let server = Url::parse(&server).context("the address of the PostgreSQL is no URL")?;
        let name = format!("starling_test_{}", random::suffix()?);
        let database = Self { server, name };
        let create =
            format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", database.name);
        let output = psql(&database.server, &create).output().context("cannot start psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(database)
    }

    /// The URL under which a server opens this database.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// The shell command that drops this database, for the watchdog.
    pub fn cleanup(&self) -> String {
        format!(
            "psql --no-psqlrc --quiet --dbname='{}' --command='{}'",
            self.server,
            self.drop_sql()
        )
    }

    /// The processes of the database server that work for this database.
    pub fn backends(&self) -> Backends {
        Backends { server: self.server.clone(), name: self.name.clone() }
    }

    fn drop_sql(&self) -> String {
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
    }
}

/// The processes that PostgreSQL runs for the connections to a database.
#[derive(Clone, Debug)]
pub struct Backends {
    server: Url,
    name: String,
}

impl Backends {
    /// Their process ids.
    ///
    /// # Errors
    ///
    /// When the database server does not say.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let question = "SELECT pid FROM pg_stat_activity WHERE datname";
        let text = self.ask(question)?;
        text.split_whitespace().map(|pid| pid.parse().context("an odd process id")).collect()
    }

    /// How many bytes the database has on disk.
    ///
    /// # Errors
    ///
    /// When the database server does not say.
    pub fn bytes(&self) -> Result<u64> {
        let question = "SELECT pg_database_size(datname) FROM pg_database WHERE datname";
        self.ask(question)?.trim().parse().context("an odd size")
    }

    fn ask(&self, about: &str) -> Result<String> {
        let mut command = psql(&self.server, &format!("{about} = '{}'", self.name));
        let output =
            command.args(["--tuples-only", "--no-align"]).stdout(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        // A database left behind does no harm: its name is never used again.
        let _ = psql(&self.server, &self.drop_sql()).status();
    }
}

fn psql(server: &Url, sql: &str) -> Command {
    let mut command = Command::new("psql");
    command
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"])
        .arg(format!("--dbname={server}"))
        .arg(format!("--command={sql}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

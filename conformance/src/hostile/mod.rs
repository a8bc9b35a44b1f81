//! `starling-conformance hostile`: another homeserver that attacks, with a key and a certificate of its
//! own. Each attack may cost the server a bounded amount of work, hold up nobody else, and must leave
//! the room as it was. `docs/security.md` says which attack is played where.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

pub mod answers;
pub mod graph;
pub mod limits;
pub mod resets;
pub mod stage;
pub mod transactions;

pub use stage::{Stage, Watch};

/// The families of attacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Family {
    /// Graphs that are expensive to walk: forks, chains, chains of authority, wide conflicts.
    Graph,
    /// Events that are not what they should be, among good ones.
    Transactions,
    /// Old rights that are to come back.
    Resets,
    /// Answers without end, without content, to elsewhere.
    Answers,
    /// Too many requests, and addresses that nobody should be sent to.
    Limits,
}

/// What to attack, and how hard.
#[derive(Args, Debug)]
pub struct Options {
    /// The families to play.
    #[arg(value_enum, default_values_t = [Family::Graph, Family::Transactions, Family::Resets,
        Family::Answers, Family::Limits])]
    families: Vec<Family>,
    /// How many forks, and how many events in chains.
    #[arg(long, default_value_t = 10_000)]
    size: usize,
    /// The room version of the attacks that are not about one.
    #[arg(long, default_value = "12")]
    room_version: String,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Plays the attacks and tells whether the server stood all of them.
pub async fn run(options: Options) -> Result<bool> {
    let ca = TestCa::new()?;
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(Kind::Starling)?.on(database).start(&ca).await?;
    let mut report = Report::default();
    for family in &options.families {
        play(&mut report, *family, &options, &server, &ca).await;
    }
    if let Some(bytes) = server.peak_memory() {
        report.figure("peak_memory_mib", bytes / (1024 * 1024));
    }
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

async fn play(
    report: &mut Report,
    family: Family,
    options: &Options,
    server: &Server,
    ca: &TestCa,
) {
    let (version, size) = (options.room_version.as_str(), options.size);
    match family {
        Family::Graph => graph::play(report, server, ca, version, size).await,
        Family::Transactions => transactions::play(report, server, ca, version).await,
        Family::Resets => resets::play(report, server, ca).await,
        Family::Answers => answers::play(report, server, ca).await,
        Family::Limits => limits::play(report, ca).await,
    }
}

//! `starling-conformance interop`: conversations between two servers, each of them Starling or
//! Synapse, in three suites.
//!
//! * `rooms` plays rooms that are created on either server and joined from the other, through the
//!   client APIs of both.
//! * `js` and `nio` let the stock clients matrix-js-sdk and matrix-nio talk to each other across
//!   the two servers.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

mod clients;
mod outage;
mod people;
mod rooms;
mod stage;

use stage::Stage;

/// The suites of this command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Suite {
    /// Rooms across two servers, through the client APIs.
    Rooms,
    /// A story that matrix-js-sdk plays.
    Js,
    /// A story that matrix-nio plays.
    Nio,
}

/// What to play between which servers.
#[derive(Args, Debug)]
pub struct Options {
    /// The suites to run.
    #[arg(value_enum, default_values_t = [Suite::Rooms, Suite::Js, Suite::Nio])]
    suites: Vec<Suite>,
    /// The two servers, such as `starling,synapse`.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1..=2, default_values_t = [Kind::Starling, Kind::Synapse])]
    servers: Vec<Kind>,
    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs the suites and tells whether all of them passed.
pub async fn run(options: Options) -> Result<bool> {
    let mut report = Report::default();
    let (one, other) = start(&options).await?;
    for suite in &options.suites {
        match suite {
            Suite::Rooms => play_rooms(&mut report, &one, &other).await?,
            Suite::Js => clients::js(&mut report, &one, &other).await?,
            Suite::Nio => clients::nio(&mut report, &one, &other).await?,
        }
    }
    if report.failed() > 0 {
        for server in [&one, &other] {
            say(&format!("--- the log of {} ends with", title(server)));
            say(&server.log_tail());
        }
    }
    report.finish(options.json.as_deref())
}

async fn start(options: &Options) -> Result<(Server, Server)> {
    let ca = TestCa::new()?;
    let first = *options.servers.first().context("two servers are needed")?;
    let second = *options.servers.last().context("two servers are needed")?;
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let one = Spec::new(first)?.on(database).start(&ca).await?;
    let other = Spec::new(second)?.on(database).start(&ca).await?;
    Ok((one, other))
}

/// Plays every case twice, so that each server is once the one that created the room.
async fn play_rooms(report: &mut Report, one: &Server, other: &Server) -> Result<()> {
    for (home, away) in [(one, other), (other, one)] {
        let title = format!("room of {}, guest of {}", title(home), title(away));
        let stage = Stage::set(home, away).await.with_context(|| title.clone())?;
        people::play(report, &title, &stage).await;
        rooms::play(report, &title, &stage).await;
        outage::play(report, &title, &stage).await;
    }
    Ok(())
}

fn title(server: &Server) -> String {
    format!("{:?} {}", server.kind(), server.name()).to_lowercase()
}

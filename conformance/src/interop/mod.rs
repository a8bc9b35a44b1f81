//! `starling-conformance interop`: conversations between two servers, each of them Starling or
//! Synapse, in four suites.
//!
//! * `rooms` plays rooms that are created on either server and joined from the other, through the
//!   client APIs of both.
//! * `js` and `nio` let the stock clients matrix-js-sdk and matrix-nio talk to each other across
//!   the two servers.
//! * `mautrix` lets a bridge on that library live on a server of its own, once for a pair that begins
//!   with Starling.

use std::{path::PathBuf, str::FromStr};

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
mod rules;
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
    /// A story that a bridge on mautrix plays.
    Mautrix,
}

/// Two kinds of server that talk to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pair(Kind, Kind);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (one, other) = text.split_once(',').ok_or("two servers with a comma between them")?;
        Ok(Self(Kind::from_str(one, true)?, Kind::from_str(other, true)?))
    }
}

/// What to play between which servers.
#[derive(Args, Debug)]
pub struct Options {
    /// The suites to run.
    #[arg(value_enum, default_values_t = [Suite::Rooms, Suite::Js, Suite::Nio, Suite::Mautrix])]
    suites: Vec<Suite>,
    /// Two servers, such as `synapse,synapse`; may be given several times.
    #[arg(long = "pair", default_values = ["starling,synapse", "starling,starling"])]
    pairs: Vec<Pair>,
    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs the suites for every pair and tells whether all of them passed.
pub async fn run(options: Options) -> Result<bool> {
    let mut report = Report::default();
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    for pair in &options.pairs {
        play(&mut report, *pair, database, &options.suites).await?;
    }
    report.finish(options.json.as_deref())
}

async fn play(
    report: &mut Report,
    Pair(one, other): Pair,
    database: DatabaseKind,
    suites: &[Suite],
) -> Result<()> {
    let ca = TestCa::new()?;
    let one = Spec::new(one)?.on(database).start(&ca).await?;
    let other = Spec::new(other)?.on(database).start(&ca).await?;
    say(&format!("# {} and {}", title(&one), title(&other)));
    let failed_before = report.failed();
    for suite in suites {
        match suite {
            Suite::Rooms => play_rooms(report, &one, &other).await?,
            Suite::Js => clients::js(report, &one, &other).await?,
            Suite::Nio => clients::nio(report, &one, &other).await?,
            Suite::Mautrix if one.kind() == Kind::Starling => {
                clients::mautrix(report, database, &ca).await?;
            }
            Suite::Mautrix => {}
        }
    }
    if report.failed() > failed_before {
        for server in [&one, &other] {
            say(&format!("--- the log of {} ends with", title(server)));
            say(&server.log_tail());
        }
    }
    Ok(())
}

/// Plays every case twice, so that each server is once the one that created the room.
async fn play_rooms(report: &mut Report, one: &Server, other: &Server) -> Result<()> {
    for (home, away) in [(one, other), (other, one)] {
        let title = format!("room of {}, guest of {}", title(home), title(away));
        let stage = Stage::set(home, away).await.with_context(|| title.clone())?;
        people::play(report, &title, &stage).await;
        rooms::play(report, &title, &stage).await;
        rules::play(report, &title, &stage).await;
        outage::play(report, &title, &stage).await;
    }
    Ok(())
}

fn title(server: &Server) -> String {
    format!("{:?} {}", server.kind(), server.name()).to_lowercase()
}

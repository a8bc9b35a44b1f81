//! `starling-conformance bench state-resolution`: what it takes to merge branches of a room with much state, which all
//! say something else about the same things.
//!
//! An invented homeserver has a room that a Starling has joined. Several branches follow the same event, and then an
//! event follows the ends of all of them: to judge that one the server has to resolve their states.

mod joined;
mod merge;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::json;

use self::{
    joined::Joined,
    merge::{Expected, Merge},
};
use super::{
    large_join::room::{LargeRoom, Size},
    measure::{Series, cpu_ms_each},
    process::Usage,
    show::{self, Played},
};
use crate::{
    report::{Report, say},
    servers::{DatabaseKind, TestCa},
};

/// On how many servers the members are, each with a key of its own.
const SERVERS: usize = 100;
/// How many events one event follows at most, by the specification.
const MOST_FORKS: usize = 20;
/// The state events of a room that are no members.
const FIRST: usize = 5;

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many state events the room has; nearly all are members.
    #[arg(long, default_value_t = 10_000)]
    pub state: usize,

    /// How many branches are merged each time.
    #[arg(long, value_delimiter = ',', default_values_t = [2, 20])]
    pub forks: Vec<usize>,

    /// How often so many are merged.
    #[arg(long, default_value_t = 20)]
    pub merges: usize,

    /// The room version.
    #[arg(long, default_value = "12")]
    pub room_version: String,

    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Measures merges of each number of branches in one room, prints them, and tells whether the state became what it
/// should.
///
/// # Errors
///
/// When the room cannot be made or joined.
pub async fn run(options: Options) -> Result<bool> {
    let possible = options.forks.iter().all(|forks| (2..=MOST_FORKS).contains(forks));
    ensure!(possible, "an event follows at most {MOST_FORKS} others, and two make a fork");
    let ca = TestCa::new()?;
    let members = options.state.saturating_sub(FIRST + 1);
    let size = Size { members, servers: SERVERS.min(members) };
    let room = LargeRoom::make_in(&ca, &options.room_version, size).await?;
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let mut joined = Joined::join(&ca, &room, database).await?;
    let (mut report, mut played) = (Report::default(), Vec::new());
    for &forks in &options.forks {
        let name = format!("{forks} forks");
        let outcome = measure(&mut joined, forks, options.merges.max(1)).await;
        if let Ok(measured) = &outcome {
            for (part, cpu_seconds) in &measured.cpu_seconds {
                let each = cpu_ms_each(*cpu_seconds, options.merges);
                report.figure(
                    &format!("{name}: CPU ms of each {part}"),
                    (each * 10.0).round() / 10.0,
                );
            }
            played.push(Played::new(&name, &measured.series, measured.usage));
        }
        report.case(&name, async { joined.proves(&outcome?.expected).await }).await;
    }
    say(&show::table(&played));
    report.keep("merges", json!(played));
    report.figure("state events", options.state);
    report.finish(options.json.as_deref())
}

/// What merges took, and what must have come of them.
struct Measured {
    series: [Series; 2],
    usage: Usage,
    /// Processor time of the branches, and of what ties them together.
    cpu_seconds: [(&'static str, f64); 2],
    expected: Expected,
}

async fn measure(joined: &mut Joined<'_>, forks: usize, merges: usize) -> Result<Measured> {
    joined.watched.forget_peak();
    let begun = joined.watched.settled().await?;
    let (mut branches, mut ties) = (Vec::new(), Vec::new());
    let mut cpu_seconds = [("set of branches", 0.0), ("event that ties them", 0.0)];
    let mut expected = Expected::default();
    for _ in 0..merges {
        let people = joined.people().await?;
        let merge = Merge::make(&joined.room.peer, &joined.view, &people, forks)?;
        let before = joined.watched.settled().await?;
        branches.push(joined.deliver(&merge.branches).await?);
        let between = joined.watched.settled().await?;
        ties.push(joined.deliver(std::slice::from_ref(&merge.tie)).await?);
        let after = joined.watched.settled().await?;
        for ((_, seconds), (from, to)) in
            cpu_seconds.iter_mut().zip([(before, between), (between, after)])
        {
            *seconds += Usage::between(from, to).cpu_seconds;
        }
        joined.deliver(std::slice::from_ref(&merge.last)).await?;
        expected.extend(merge);
    }
    let usage = Usage::between(begun, joined.watched.settled().await?);
    let series = |name, taken: Vec<_>| {
        let elapsed = taken.iter().sum();
        Series::new(name, taken, elapsed)
    };
    let series = [
        series("until the client has all branches", branches),
        series("until it has what ties them", ties),
    ];
    Ok(Measured { series, usage, cpu_seconds, expected })
}

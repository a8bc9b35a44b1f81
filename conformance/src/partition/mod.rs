//! `starling-conformance partition`: servers in one room are cut from each other, go on on both sides,
//! and are joined again. Every server must end with the same events, each once, and the same state.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::Args;

use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind},
};

mod story;
mod world;

use story::Story;
use world::World;

/// How to cut whom.
#[derive(Args, Debug)]
pub struct Options {
    /// The servers; the first half is cut from the second.
    #[arg(long, value_enum, value_delimiter = ',',
        default_values_t = [Kind::Starling, Kind::Starling, Kind::Starling, Kind::Synapse])]
    servers: Vec<Kind>,
    /// How many events each side makes while it is cut off.
    #[arg(long, default_value_t = 1000)]
    events: usize,
    /// The room versions to play.
    #[arg(long, value_delimiter = ',', default_values_t = ["11".to_owned(), "12".to_owned()])]
    room_versions: Vec<String>,
    /// How long it may take after the cut is healed until all have everything, in seconds.
    #[arg(long, default_value_t = 180)]
    heal_seconds: u64,
    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Plays the cut in every room version, and tells whether nothing was lost.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let world = World::start(&options.servers, database).await?;
    let mut report = Report::default();
    for version in &options.room_versions {
        let mut figures = None;
        let name = format!("room version {version}: {} events on each side", options.events);
        let limit = Duration::from_secs(options.heal_seconds);
        let case = async {
            let story = Story::begin(&world, version).await?;
            figures = Some(story.play(options.events, limit).await?);
            Ok(())
        };
        report.case(&name, case).await;
        if let Some(figures) = figures {
            let seconds = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
            let prefix = format!("v{version}");
            report.figure(&format!("{prefix}_events"), figures.events);
            report.figure(&format!("{prefix}_cut_seconds"), seconds(figures.cut));
            report.figure(&format!("{prefix}_heard_seconds"), seconds(figures.heard));
            report.figure(&format!("{prefix}_same_seconds"), seconds(figures.same));
        }
    }
    if report.failed() > 0 {
        world.logs().iter().for_each(|log| say(log));
    }
    report.finish(options.json.as_deref())
}

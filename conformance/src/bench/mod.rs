//! `starling-conformance bench`: what the client API takes in time, processor and memory, on any
//! homeserver.
//!
//! A [`Scenario`] prepares what it needs, plays what is measured, and then proves that nothing which the
//! server acknowledged is missing or there twice: a figure of a server that forgets is worth nothing.
//!
//! [`federation`] measures what passes between two servers, [`large_join`] how a large room is joined.

mod accounts;
mod backup;
mod counts;
mod directory;
pub mod federation;
pub mod large_join;
mod load;
mod measure;
mod messages;
mod process;
mod push;
mod search;
mod send;
mod show;
mod sliding;
mod spaces;
mod stage;
mod sync;

use std::{path::PathBuf, time::Instant};

use anyhow::{Result, ensure};
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use self::{
    measure::Series,
    process::{Usage, Watched},
    show::Played,
    stage::Stage,
};
use crate::{
    report::{Case, Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How to run the bench.
#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to measure instead of the client API.
    #[command(subcommand)]
    pub instead: Option<Instead>,

    /// The base URL of a homeserver that runs already and on which everybody may register, such as
    /// `http://127.0.0.1:8008`. Without one a server is started.
    #[arg(long, requires = "pid")]
    pub url: Option<String>,

    /// The process of that homeserver, on this machine, whose processor time and memory are read.
    #[arg(long)]
    pub pid: Option<u32>,

    /// The kind of server to start.
    #[arg(long, value_enum, default_value_t = Kind::Starling, conflicts_with = "url")]
    pub server: Kind,

    /// Its database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// How much of everything there is, in percent of the usual.
    #[arg(long, default_value_t = 100)]
    pub scale: usize,

    /// How many requests are under way at once, where a scenario makes several.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,

    /// Only the scenarios with these names.
    #[arg(long)]
    pub only: Vec<String>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What else is measured.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Instead {
    /// What passes from one server to another of the same kind.
    Federation(federation::Options),
    /// How long it takes to join a room with many members, and how much memory.
    LargeJoin(large_join::Options),
}

/// One thing that people do with a homeserver.
trait Scenario {
    /// By which it is chosen and shown.
    fn name(&self) -> &'static str;

    /// Makes the accounts, rooms and messages that it is about. Nothing of that is measured.
    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>>;

    /// What is measured.
    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>>;

    /// Fails unless what the server acknowledged is there, once.
    fn verify<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>>;
}

fn scenarios() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(accounts::Accounts::default()),
        Box::new(send::Send::default()),
        Box::new(sync::Sync::default()),
        Box::new(sliding::Sliding::default()),
        Box::new(messages::Messages::default()),
        Box::new(search::Search::default()),
        Box::new(directory::Directory::default()),
        Box::new(spaces::Spaces::default()),
        Box::new(counts::Counts::default()),
        Box::new(push::Push::default()),
        Box::new(backup::Backup::default()),
    ]
}

/// Runs the scenarios and tells whether each of them lost nothing.
///
/// # Errors
///
/// When there is no server to measure, or no scenario of a name that is asked for.
pub async fn run(options: Options) -> Result<bool> {
    match options.instead {
        Some(Instead::Federation(options)) => federation::run(options).await,
        Some(Instead::LargeJoin(options)) => large_join::run(options).await,
        None => client_api(options).await,
    }
}

async fn client_api(options: Options) -> Result<bool> {
    let chosen = chosen(&options.only)?;
    let (stage, watched, _server) = set(&options).await?;
    let mut report = Report::default();
    let mut played = Vec::new();
    for mut scenario in chosen {
        let begun = Instant::now();
        let outcome = play(&mut *scenario, &stage, &watched).await;
        report.record(Case {
            name: scenario.name().to_owned(),
            passed: outcome.is_ok(),
            seconds: begun.elapsed().as_secs_f64(),
            error: outcome.as_ref().err().map(|error| format!("{error:#}")),
        });
        played.extend(outcome);
    }
    say(&show::table(&played));
    report.figure("scale", options.scale);
    report.figure("concurrency", options.concurrency);
    report.keep("scenarios", json!(played));
    report.finish(options.json.as_deref())
}

fn chosen(only: &[String]) -> Result<Vec<Box<dyn Scenario>>> {
    let mut scenarios = scenarios();
    let known = |name: &String| scenarios.iter().any(|scenario| scenario.name() == name);
    let unknown: Vec<_> = only.iter().filter(|&name| !known(name)).collect();
    ensure!(unknown.is_empty(), "there are no scenarios {unknown:?}");
    if !only.is_empty() {
        scenarios.retain(|scenario| only.iter().any(|name| name == scenario.name()));
    }
    Ok(scenarios)
}

/// The homeserver that is measured. One that was started here ends with the third value.
async fn set(options: &Options) -> Result<(Stage, Watched, Option<Server>)> {
    if let (Some(url), Some(pid)) = (&options.url, options.pid) {
        let stage = Stage::new(url, options.scale, options.concurrency)?;
        return Ok((stage, Watched::new(pid), None));
    }
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(options.server)?.on(database).start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), options.scale, options.concurrency)?;
    Ok((stage, Watched::new(server.pid()?), Some(server)))
}

async fn play(scenario: &mut dyn Scenario, stage: &Stage, watched: &Watched) -> Result<Played> {
    scenario.prepare(stage).await?;
    watched.forget_peak();
    let before = watched.usage()?;
    let series = scenario.play(stage).await?;
    let after = watched.usage()?;
    scenario.verify(stage).await?;
    Ok(Played::new(scenario.name(), &series, Usage::between(before, after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_their_names() {
        assert_eq!(chosen(&[]).unwrap().len(), scenarios().len());
        let one = chosen(&["sync".to_owned()]).unwrap();
        assert_eq!(one.iter().map(|it| it.name()).collect::<Vec<_>>(), ["sync"]);
        assert!(chosen(&["nothing".to_owned()]).is_err());
    }
}

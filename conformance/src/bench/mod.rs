//! `starling-conformance bench`: what the client API takes in time, processor and memory, on any
//! homeserver.
//!
//! A [`Scenario`] prepares what it needs, plays what is measured, and then proves that nothing which the
//! server acknowledged is missing or there twice: a figure of a server that forgets is worth nothing.
//!
//! [`costs`] compares what single things cost with what they may cost, [`limits`] what is done with what can be done.
//! [`federation`] measures what passes between two servers, [`large_join`] how a large room is joined,
//! [`state_resolution`] how its branches are merged, [`start_up`] how soon a server that has much is there again.

mod accounts;
mod backup;
pub mod costs;
mod counts;
mod directory;
pub(crate) mod disk;
mod fan_out;
pub mod federation;
pub mod growth;
mod join;
mod keys;
pub mod large_join;
pub mod limits;
mod load;
pub(crate) mod measure;
mod media;
mod messages;
mod polls;
pub(crate) mod process;
mod push;
mod search;
mod send;
mod show;
mod sliding;
mod spaces;
mod stage;
pub mod start_up;
pub mod state_resolution;
mod suite;
mod sync;
mod to_device;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use self::{
    measure::Series,
    process::{Usage, Watched},
    show::Played,
    stage::{Scale, Stage},
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

    /// Only the scenarios whose names begin so.
    #[arg(long)]
    pub only: Vec<String>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What else is measured.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Instead {
    /// What each thing that a server does costs in processor time, beside what it may cost.
    Costs(costs::Options),
    /// What passes from one server to another of the same kind.
    Federation(federation::Options),
    /// How what a message costs grows with members and events, and how much disk it takes.
    Growth(growth::Options),
    /// How long it takes to join a room with many members, and how much memory.
    LargeJoin(large_join::Options),
    /// How near Starling comes to what its parts allow on this machine.
    Limits(limits::Options),
    /// How soon a server that has much answers after it was stopped or killed.
    StartUp(start_up::Options),
    /// What it takes to merge branches of a room with much state.
    StateResolution(state_resolution::Options),
    /// Answers every request with the same bytes: what `limits` compares /sync with.
    #[command(hide = true)]
    Handler(limits::handler::Options),
}

/// One thing that people do with a homeserver.
trait Scenario {
    /// By which it is chosen and shown.
    fn name(&self) -> &str;

    /// Makes the accounts, rooms and messages that it is about. Nothing of that is measured.
    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>>;

    /// What is measured.
    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>>;

    /// Fails unless what the server acknowledged is there, once.
    fn verify<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>>;
}

/// Runs the scenarios and tells whether each of them lost nothing.
///
/// # Errors
///
/// When there is no server to measure, or no scenario of a name that is asked for.
pub async fn run(options: Options) -> Result<bool> {
    match options.instead {
        Some(Instead::Costs(options)) => costs::run(options).await,
        Some(Instead::Federation(options)) => federation::run(options).await,
        Some(Instead::Growth(options)) => growth::run(options).await,
        Some(Instead::LargeJoin(options)) => large_join::run(options).await,
        Some(Instead::Limits(options)) => limits::run(options).await,
        Some(Instead::StartUp(options)) => start_up::run(options).await,
        Some(Instead::StateResolution(options)) => state_resolution::run(options).await,
        Some(Instead::Handler(options)) => limits::handler::serve(options).await,
        None => client_api(options).await,
    }
}

async fn client_api(options: Options) -> Result<bool> {
    let chosen = suite::chosen(&options.only, Scale(options.scale))?;
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

/// The homeserver that is measured. One that was started here ends with the third value.
async fn set(options: &Options) -> Result<(Stage, Watched, Option<Server>)> {
    if let (Some(url), Some(pid)) = (&options.url, options.pid) {
        let stage = Stage::new(url, options.scale, options.concurrency)?;
        return Ok((stage, Watched::new(pid), None));
    }
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(options.server)?.on(database).start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), options.scale, options.concurrency)?;
    Ok((stage, Watched::server(&server)?, Some(server)))
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

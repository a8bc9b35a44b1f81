//! `starling-conformance bench costs`: the processor time that a server uses for one message, one delivery,
//! one answer, and the memory that it holds when nobody asks for anything.
//!
//! Several kinds of server can be measured in one run, one after the other, and are compared. What Starling
//! uses is compared with what it may use at most.

mod rows;
mod table;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use self::rows::Row;
use super::{
    Scenario,
    federation::{self, title},
    measure::cpu_ms_each,
    process::{Usage, Watched},
    stage::{Scale, Stage},
};
use crate::{
    report::{Case, Report, say},
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The kind of server; given twice, both kinds are measured and compared.
    #[arg(long = "server", value_enum, default_values_t = [Kind::Starling])]
    pub servers: Vec<Kind>,

    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// How often everything is done, in percent of the usual.
    #[arg(long, default_value_t = 100)]
    pub scale: usize,

    /// How many requests are under way at once.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,

    /// Only the rows whose names begin so.
    #[arg(long)]
    pub only: Vec<String>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What one of many cost.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Cost {
    /// Milliseconds of the server's processor time, or MiB.
    server: f64,
    /// Milliseconds of its database's processor time.
    database: f64,
    /// Over how many this was measured.
    count: usize,
}

impl Cost {
    /// Of each of so many.
    fn of(usage: Usage, count: usize) -> Self {
        Self {
            server: cpu_ms_each(usage.cpu_seconds, count),
            database: cpu_ms_each(usage.database_seconds, count),
            count,
        }
    }
}

/// Measures each row on each kind of server, prints them beside each other, and tells whether nothing was
/// lost. Whether a cost is as low as it should be is printed and decides nothing.
///
/// # Errors
///
/// When the servers cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    let mut report = Report::default();
    let wanted = |row: &Row| {
        options.only.is_empty() || options.only.iter().any(|name| row.name.starts_with(name))
    };
    let rows: Vec<_> = rows::ROWS.into_iter().filter(wanted).collect();
    let mut costs = Vec::new();
    for &kind in &options.servers {
        costs.push(measure_all(&mut report, &options, kind, &rows).await?);
    }
    say(&table::of(&rows, &options.servers, &costs));
    for (kind, costs) in options.servers.iter().zip(&costs) {
        let named = rows.iter().zip(costs).map(|(row, cost)| (row.name.to_owned(), json!(cost)));
        report.keep(title(*kind), serde_json::Value::Object(named.collect()));
    }
    report.figure("scale", options.scale);
    report.figure("concurrency", options.concurrency);
    report.finish(options.json.as_deref())
}

/// All rows on one new server of a kind, and what concerns two of them on two further ones. What could not be
/// measured is nothing.
async fn measure_all(
    report: &mut Report,
    options: &Options,
    kind: Kind,
    rows: &[Row],
) -> Result<Vec<Option<Cost>>> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(kind)?.on(database).start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), options.scale, options.concurrency)?;
    let watched = Watched::server(&server)?;
    let mut costs = Vec::new();
    for row in rows {
        let begun = Instant::now();
        let outcome = match row.what {
            rows::What::Memory => resident(&watched).await,
            rows::What::Federation => across(options, kind).await,
            rows::What::Played(scenario) => {
                play(&mut *scenario(Scale(options.scale)), &stage, &watched).await
            }
        };
        report.record(Case {
            name: format!("{}: {}", title(kind), row.name),
            passed: outcome.is_ok(),
            seconds: begun.elapsed().as_secs_f64(),
            error: outcome.as_ref().err().map(|error| format!("{error:#}")),
        });
        costs.push(outcome.ok());
    }
    Ok(costs)
}

async fn play(scenario: &mut dyn Scenario, stage: &Stage, watched: &Watched) -> Result<Cost> {
    scenario.prepare(stage).await?;
    let before = watched.settled().await?;
    let series = scenario.play(stage).await?;
    let after = watched.settled().await?;
    scenario.verify(stage).await?;
    let count = series.first().context("nothing was measured")?.count();
    Ok(Cost::of(Usage::between(before, after), count))
}

async fn resident(watched: &Watched) -> Result<Cost> {
    watched.settled().await?;
    Ok(Cost { server: watched.resident_mib()?, database: 0.0, count: 1 })
}

async fn across(options: &Options, kind: Kind) -> Result<Cost> {
    let options = federation::Options {
        servers: vec![kind],
        database: options.database,
        scale: options.scale,
        concurrency: options.concurrency,
        rate: 1,
        json: None,
    };
    let (usage, count) = federation::saturated(&options, kind).await?;
    Ok(Cost::of(usage, count))
}

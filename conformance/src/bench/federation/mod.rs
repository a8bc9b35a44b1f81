//! `starling-conformance bench federation`: what passes from one server to another, in time and processor.
//!
//! Two servers of the same kind meet for the first time; users of the second join rooms of the first, and
//! are told what is said there. Several kinds can be measured in one run, one after the other.

mod flow;
mod joins;
mod pair;
mod ratio;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use serde_json::json;

pub(super) use self::{
    flow::{Flow, Pace, Shared},
    pair::{Measured, Pair},
};
use super::{
    process::Usage,
    show::{self, Played},
};
use crate::{
    report::{Case, Report, say},
    servers::{DatabaseKind, Kind},
};

pub(super) const MESSAGES: usize = 500;

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The kind of both servers; given twice, both kinds are measured and compared.
    #[arg(long = "server", value_enum, default_values_t = [Kind::Starling])]
    pub servers: Vec<Kind>,

    /// Starling's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// How much of everything there is, in percent of the usual.
    #[arg(long, default_value_t = 100)]
    pub scale: usize,

    /// How many users send at once.
    #[arg(long, default_value_t = 8)]
    pub concurrency: usize,

    /// How many messages are sent in a second where the time of each is measured.
    #[arg(long, default_value_t = 10)]
    pub rate: u32,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Measures each kind and tells whether nothing was lost.
///
/// # Errors
///
/// When the servers cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    let mut report = Report::default();
    let mut played = Vec::new();
    for &kind in &options.servers {
        played.push(play(&mut report, &options, kind).await?);
    }
    for (kind, played) in options.servers.iter().zip(&played) {
        say(&format!("\n{}{}", title(*kind), show::table(played)));
        report.keep(title(*kind), json!(played));
    }
    if let [one, other] = played.as_slice() {
        say(&ratio::table(&options.servers, one, other));
    }
    report.figure("scale", options.scale);
    report.figure("concurrency", options.concurrency);
    report.figure("rate", options.rate);
    report.finish(options.json.as_deref())
}

/// All scenarios between two servers of one kind. The joins come first: servers meet only once for the
/// first time.
async fn play(report: &mut Report, options: &Options, kind: Kind) -> Result<Vec<Played>> {
    let pair = Pair::start(options, kind).await?;
    let count = pair.home.scaled(MESSAGES);
    let steady = Flow { name: "steady", count, pace: Pace::PerSecond(options.rate.max(1)) };
    let fast = Flow { name: "fast", count: 2 * count, pace: Pace::AsFastAsPossible };
    let mut played = Vec::new();
    for name in ["joins", steady.name, fast.name] {
        let begun = Instant::now();
        let measured = match name {
            "joins" => joins::play(&pair).await,
            "steady" => steady.play(&pair).await,
            _ => fast.play(&pair).await,
        };
        let outcome = measured.and_then(|measured| {
            let title = format!("{} {name}", title(kind));
            for (figure, value) in &measured.figures {
                report.figure(&format!("{title}: {figure}"), value.clone());
            }
            let Measured { series, usage, flaw, .. } = measured;
            played.push(Played::new(name, &series, usage));
            flaw.map_or(Ok(()), |flaw| Err(anyhow::anyhow!(flaw)))
        });
        report.record(Case {
            name: format!("{} {name}", title(kind)),
            passed: outcome.is_ok(),
            seconds: begun.elapsed().as_secs_f64(),
            error: outcome.err().map(|error| format!("{error:#}")),
        });
    }
    Ok(played)
}

/// What one message of many costs both servers together, as fast as they can: what they used, and for how many
/// messages.
pub(super) async fn saturated(options: &Options, kind: Kind) -> Result<(Usage, usize)> {
    let pair = Pair::start(options, kind).await?;
    let count = pair.home.scaled(2 * MESSAGES);
    let fast = Flow { name: "fast", count, pace: Pace::AsFastAsPossible };
    let Measured { usage, flaw, .. } = fast.play(&pair).await?;
    flaw.map_or(Ok((usage, count)), |flaw| Err(anyhow::anyhow!(flaw)))
}

/// What a kind of server is called.
pub(super) fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Starling => "Starling",
        Kind::Synapse => "Synapse",
    }
}

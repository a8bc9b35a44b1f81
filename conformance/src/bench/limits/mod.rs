//! `starling-conformance bench limits`: how near Starling comes to what its parts allow on this machine, in one
//! run.
//!
//! | What Starling does | Beside |
//! | --- | --- |
//! | acknowledges messages | a loop that writes the same rows, in transactions as large as Starling's |
//! | answers a /sync without news | a handler of the same library that answers with the same bytes |
//! | takes in events of another server | a loop that checks their hashes and signatures, and writes the same rows |
//!
//! SQLite only: the loops write by the plain library.

mod batches;
pub mod handler;
mod polls;
mod receipts;
mod sends;
mod written;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use serde_json::json;

use super::measure::{cpu_ms_each, float};
use crate::{
    report::{Report, say},
    servers::ports,
};

/// The part of the limit that Starling reaches at least.
const BAR: f64 = 0.5;

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How much of everything there is, in percent of the usual.
    #[arg(long, default_value_t = 100)]
    pub scale: usize,

    /// How many requests are under way at once.
    #[arg(long, default_value_t = 64)]
    pub concurrency: usize,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// So many things in so much time.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Rate {
    count: usize,
    seconds: f64,
    /// Processor time of the server, or of the loop, in milliseconds for each.
    cpu_ms: f64,
}

impl Rate {
    fn new(count: usize, elapsed: Duration, cpu_seconds: f64) -> Self {
        let cpu_ms = cpu_ms_each(cpu_seconds, count);
        Self { count, seconds: elapsed.as_secs_f64(), cpu_ms }
    }

    fn per_second(self) -> f64 {
        float(self.count) / self.seconds.max(1e-9)
    }
}

/// What Starling does beside what can be done, and what is worth knowing of both.
#[derive(Debug)]
struct Compared {
    what: &'static str,
    starling: Rate,
    limit: Rate,
    notes: Vec<String>,
}

/// Measures all three, prints them, and tells whether nothing was lost. Whether a bar is met is printed and
/// decides nothing.
///
/// # Errors
///
/// When a server cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    let mut report = Report::default();
    let mut all = Vec::new();
    report.case("messages", async { sends::compare(&options).await.map(|it| all.push(it)) }).await;
    report.case("polls", async { polls::compare(&options).await.map(|it| all.push(it)) }).await;
    report
        .case("receipts", async { receipts::compare(&options).await.map(|it| all.push(it)) })
        .await;
    say(&table(&all));
    for Compared { what, starling, limit, notes } in &all {
        notes.iter().for_each(|note| say(&format!("{what}: {note}")));
        report.keep(what, json!({ "starling": starling, "limit": limit, "notes": notes }));
    }
    report.figure("scale", options.scale);
    report.figure("concurrency", options.concurrency);
    report.finish(options.json.as_deref())
}

fn table(all: &[Compared]) -> String {
    let mut text = format!(
        "\n{:<40} {:>10} {:>10} {:>6} {:>9} {:>9}  at least {BAR}\n",
        "in a second", "Starling", "limit", "part", "ms CPU", "ms CPU"
    );
    for Compared { what, starling, limit, .. } in all {
        let part = starling.per_second() / limit.per_second();
        text.push_str(&format!(
            "{what:<40} {:>10.0} {:>10.0} {part:>6.2} {:>9.3} {:>9.3}  {}\n",
            starling.per_second(),
            limit.per_second(),
            starling.cpu_ms,
            limit.cpu_ms,
            if part >= BAR { "met" } else { "not met" }
        ));
    }
    text
}

/// The setting by which a server tells its metrics, and where they are then.
fn metrics_address() -> Result<(String, String)> {
    let address = ports::loopback(ports::free()?).to_string();
    let url = format!("http://{address}/metrics");
    Ok((address, url))
}

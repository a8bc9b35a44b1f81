//! Events of another server beside the checks that they need and the rows that they are.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    Compared, Options, Rate,
    batches::Batches,
    metrics_address,
    sends::{DATABASE, own_cpu},
    written::{self, Written},
};
use crate::{
    bench::{
        federation::{self, Flow, MESSAGES, Pace, Pair, Shared},
        process::Usage,
    },
    evil,
    servers::{DatabaseKind, Kind},
};

/// The version of the rooms that a server makes.
const VERSION: &str = "12";

/// Users of one server speak in a room in which the other is; then a loop checks and writes what came there.
pub(super) async fn compare(options: &Options) -> Result<Compared> {
    let (listen, metrics) = metrics_address()?;
    let setting = ("TELEMETRY__LISTEN", listen.as_str());
    let pair = Pair::start_with(&of_pair(options), Kind::Starling, Some(setting)).await?;
    let (server, watched) = pair.second();
    let shared = Shared::make(&pair).await?;
    let before = (watched.settled().await?, Batches::read(&metrics).await?);
    let copies =
        tempfile::Builder::new().prefix("starling-limits-").tempdir_in(server.directory())?;
    let (database, copy) = (server.directory().join(DATABASE), copies.path().join("before.db"));
    written::copy(&database, &copy)?;
    let count = pair.home.scaled(4 * MESSAGES);
    let flow = Flow { name: "limits", count, pace: Pace::AsFastAsPossible };
    let measured = flow.play_in(shared, &pair).await?;
    let after = (watched.settled().await?, Batches::read(&metrics).await?);
    if let Some(flaw) = measured.flaw {
        bail!("{flaw}");
    }
    let arrived = measured.series.first().context("nothing was measured")?;
    let usage = Usage::between(before.0, after.0);
    let starling = Rate::new(count, arrived.elapsed, usage.cpu_seconds);

    let written = Written::between(&copy, &database)?;
    let events = written.texts("events", "json");
    ensure!(events.len() >= count, "{} of {count} events were written", events.len());
    let (keys, sizes) = (pair.keys().await?, after.1.since(&before.1));
    let (cpu, begun) = (own_cpu()?, Instant::now());
    for event in &events {
        let event: Value = serde_json::from_str(event).context("an event is no JSON")?;
        evil::verify(VERSION, &event, std::slice::from_ref(&keys))?;
    }
    let checking = begun.elapsed();
    let writing = written.write(&copy, &sizes)?;
    let limit = Rate::new(count, checking + writing, own_cpu()? - cpu);
    let notes = vec![format!(
        "{} transactions of both; the loop checked for {:.2} s and wrote for {:.2} s",
        sizes.len(),
        checking.as_secs_f64(),
        writing.as_secs_f64()
    )];
    Ok(Compared { what: "events of another server taken in", starling, limit, notes })
}

fn of_pair(options: &Options) -> federation::Options {
    federation::Options {
        servers: vec![Kind::Starling],
        database: Some(DatabaseKind::Sqlite),
        scale: options.scale,
        concurrency: options.concurrency,
        rate: 1,
        json: None,
    }
}

//! Acknowledged messages beside the rows that they are.

use anyhow::{Context as _, Result};

use super::{
    Compared, Options, Rate,
    batches::Batches,
    metrics_address,
    written::{self, Written},
};
use crate::{
    bench::{
        Scenario as _,
        measure::float,
        process::{Usage, Watched},
        send::Send,
        stage::{Scale, Stage},
    },
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

const ROOMS: usize = 20;
const MESSAGES: usize = 12_800;
/// Where Starling keeps all that it stores on SQLite, in a server's directory.
pub(super) const DATABASE: &str = "data/starling.db";

/// Users send to some rooms; then a loop writes the rows that came of it.
pub(super) async fn compare(options: &Options) -> Result<Compared> {
    let (listen, metrics) = metrics_address()?;
    let spec = Spec::new(Kind::Starling)?.on(DatabaseKind::Sqlite);
    let server = spec.with_setting("TELEMETRY__LISTEN", &listen).start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), options.scale, options.concurrency)?;
    let watched = Watched::server(&server)?;
    let messages = Scale(options.scale).of(MESSAGES);
    let mut send = Send::new("messages".into(), ROOMS, options.concurrency, messages);
    send.prepare(&stage).await?;
    let before = (watched.settled().await?, Batches::read(&metrics).await?);
    let copies =
        tempfile::Builder::new().prefix("starling-limits-").tempdir_in(server.directory())?;
    let (database, copy) = (server.directory().join(DATABASE), copies.path().join("before.db"));
    written::copy(&database, &copy)?;
    let series = send.play(&stage).await?;
    let after = (watched.settled().await?, Batches::read(&metrics).await?);
    send.verify(&stage).await?;
    let series = series.first().context("nothing was measured")?;
    let usage = Usage::between(before.0, after.0);
    let starling = Rate::new(series.count(), series.elapsed, usage.cpu_seconds);

    let written = Written::between(&copy, &database)?;
    let sizes = after.1.since(&before.1);
    let (loop_cpu, elapsed) = (own_cpu()?, written.write(&copy, &sizes)?);
    let limit = Rate::new(series.count(), elapsed, own_cpu()? - loop_cpu);
    let mean = |of: f64| of / float(sizes.len()).max(1.0);
    let notes = vec![
        format!("{:.1} rows each", float(written.rows()) / float(series.count()).max(1.0)),
        format!(
            "{} transactions of Starling, of {:.1} changes each, those included that follow messages; as \
             many of the loop, of {:.1} messages each, spread alike",
            sizes.len(),
            mean(after.1.changes_since(&before.1)),
            mean(float(series.count())),
        ),
    ];
    Ok(Compared { what: "messages acknowledged", starling, limit, notes })
}

/// The processor time of this program.
pub(super) fn own_cpu() -> Result<f64> {
    Ok(Watched::new(std::process::id()).usage()?.cpu_seconds)
}

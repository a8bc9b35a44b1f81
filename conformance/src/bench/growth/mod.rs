//! `starling-conformance bench growth`: whether a message costs the same in a large room as in a small one and
//! on a server that has much as on one that has little, whether a join costs the same whoever is there already,
//! whether requests cost the same where much was said about an event, and how much disk messages and changes of state
//! take.

mod crowd;
mod used;

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use self::crowd::Crowd;
use super::{
    disk::disk,
    load::{self, Acknowledged},
    measure::{self, Series},
    process::{Usage, Watched},
    stage::Stage,
};
use crate::{
    client::User,
    report::{Report, say},
    servers::DatabaseKind,
};

/// How many messages are measured at each size.
const MESSAGES: usize = 400;
/// By how much the dearest may exceed the cheapest and still be called the same.
const FLAT: f64 = 1.5;
/// How many of the joins at the beginning and at the end are compared.
const JOINS: usize = 100;
/// How many changes of state are weighed.
const CHANGES: usize = 2_000;

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many members the room has, in ascending order.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    pub members: Vec<usize>,

    /// How many events the server has, in ascending order.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    pub events: Vec<usize>,

    /// How many reactions, edits and answers an event has, in ascending order.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 5_000])]
    pub related: Vec<usize>,

    /// How many messages or requests are measured at each size.
    #[arg(long, default_value_t = MESSAGES)]
    pub messages: usize,

    /// How many changes of state are weighed.
    #[arg(long, default_value_t = CHANGES)]
    pub changes: usize,

    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What a message costs at one size.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Step {
    size: usize,
    p50_ms: f64,
    cpu_ms: f64,
}

/// Measures, prints, and tells whether nothing was lost. How a cost grows is printed and decides nothing.
///
/// # Errors
///
/// When the server cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let crowd = Crowd::start(database).await?;
    let mut report = Report::default();
    let mut table = "\n| With | p50 ms | CPU ms each |\n| --- | --: | --: |\n".to_owned();
    let members = by_members(&mut report, &crowd, &options).await;
    keep(&mut report, &mut table, "members in the room", members).await;
    let events = by_events(&mut report, &crowd, &options).await;
    keep(&mut report, &mut table, "events on the server", events).await;
    let uses = used::by_use(&crowd, &options.related, options.messages).await;
    for (request, steps) in uses.as_ref().ok().into_iter().flatten() {
        let kind = format!("reactions, edits and answers: {request}");
        keep(&mut report, &mut table, &kind, Ok(steps.clone())).await;
    }
    report.case("reactions, edits and answers", async { uses.map(|_| ()) }).await;
    say(&table);
    report.finish(options.json.as_deref())
}

async fn keep(report: &mut Report, table: &mut String, kind: &str, outcome: Result<Vec<Step>>) {
    let steps = outcome.as_ref().map(Clone::clone).unwrap_or_default();
    for step in &steps {
        let line = format!("| {} {kind} | {:.2} | {:.3} |\n", step.size, step.p50_ms, step.cpu_ms);
        table.push_str(&line);
    }
    report.keep(kind, json!(steps));
    let costs: Vec<f64> = steps.iter().map(|step| step.cpu_ms).collect();
    report.figure(&format!("{kind}: dearest by cheapest"), spread(&costs));
    report.figure(&format!("{kind}: flat"), spread(&costs) <= FLAT);
    report.case(kind, async { outcome.map(|_| ()) }).await;
}

/// How many times as much the most is as the least.
fn spread(costs: &[f64]) -> f64 {
    let most = costs.iter().copied().fold(0.0, f64::max);
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    if least > 0.0 && least.is_finite() { (most / least * 100.0).round() / 100.0 } else { 0.0 }
}

/// One member speaks in a room to which ever more come.
async fn by_members(report: &mut Report, crowd: &Crowd, options: &Options) -> Result<Vec<Step>> {
    let owner = crowd.stage.user("owner").await?;
    let room = owner.create_public_room().await?;
    let (mut steps, mut joins, mut sent) = (Vec::new(), Vec::new(), Acknowledged::default());
    let mut members = 1;
    for &size in &options.members {
        joins.extend(crowd.join(&room, members..size).await?);
        members = members.max(size);
        steps.push(step(crowd, &owner, &room, size, options.messages, &mut sent).await?);
    }
    // By then there is everything that makes a join dear.
    if let (Some(first), Some(last)) = (joins.get(..JOINS), joins.len().checked_sub(JOINS)) {
        let last = joins.get(last..).unwrap_or_default();
        let median =
            |taken: &[_]| show_ms(&Series::new("join", taken.to_vec(), Default::default()));
        report.figure("joins", joins.len());
        report.figure("first 100 joins, p50 ms", median(first));
        report.figure("last 100 joins, p50 ms", median(last));
    }
    sent.verify(&owner.history(&room).await?)?;
    weigh_state(report, crowd, &owner, &room, (members, options.changes)).await?;
    Ok(steps)
}

/// One member speaks in a small room of a server that has ever more events in others.
async fn by_events(report: &mut Report, crowd: &Crowd, options: &Options) -> Result<Vec<Step>> {
    let users = crowd.stage.users("speaker", 2).await?;
    let owner = users.first().context("nobody speaks")?;
    let (room, other) = (crowd.stage.room(&users).await?, crowd.stage.room(&users).await?);
    let (mut steps, mut sent, mut stored) = (Vec::new(), Acknowledged::default(), 0);
    for &size in &options.events {
        let before = disk(&crowd.server).await?;
        let more = size.saturating_sub(stored);
        let bodies =
            (stored..size).map(|number| format!("message number {number} of many")).collect();
        ensure!(load::fill(&crowd.stage, owner, &other, bodies).await?.len() == more, "lost");
        stored = stored.max(size);
        if more > 0 {
            let each = each_of(disk(&crowd.server).await?.saturating_sub(before), more)?;
            report.figure(&format!("bytes on disk per message, up to {size}"), each);
        }
        steps.push(step(crowd, owner, &room, size, options.messages, &mut sent).await?);
    }
    sent.verify(&users.last().context("nobody reads")?.history(&room).await?)?;
    Ok(steps)
}

async fn step(
    crowd: &Crowd,
    user: &User,
    room: &str,
    size: usize,
    messages: usize,
    sent: &mut Acknowledged,
) -> Result<Step> {
    let acknowledged = Mutex::new(Vec::new());
    let note = &acknowledged;
    let step = measured(crowd, size, messages, |number| async move {
        let body = format!("message {number} at {size}");
        let event_id = user.say(room, &body).await?;
        note.lock().unwrap_or_else(PoisonError::into_inner).push((event_id, body));
        Ok(())
    })
    .await?;
    for (event_id, body) in acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner) {
        sent.note(event_id, body)?;
    }
    Ok(step)
}

/// Does something so many times, one after the other.
async fn measured<T, F: Future<Output = Result<T>>>(
    crowd: &Crowd,
    size: usize,
    times: usize,
    work: impl Fn(usize) -> F,
) -> Result<Step> {
    // Its process is another one after each stop.
    let watched = Watched::server(&crowd.server)?;
    let before = watched.settled().await?;
    let (series, _) = measure::each("work", 1, 0..times, work).await?;
    let usage = Usage::between(before, watched.settled().await?);
    let cpu_ms = measure::cpu_ms_each(usage.cpu_seconds, times);
    Ok(Step { size, p50_ms: show_ms(&series), cpu_ms })
}

/// What one change of state takes in a room with so many members.
async fn weigh_state(
    report: &mut Report,
    crowd: &Crowd,
    owner: &User,
    room: &str,
    (members, changes): (usize, usize),
) -> Result<()> {
    let before = disk(&crowd.server).await?;
    let keys = 0..changes;
    measure::each("state", crowd.stage.concurrency, keys, |number| async move {
        let content = json!({ "number": number });
        owner.set_state(room, "org.example.bench", &format!("key {number}"), content).await
    })
    .await?;
    let each = each_of(disk(&crowd.server).await?.saturating_sub(before), changes)?;
    report.figure(&format!("bytes on disk per change of state, {members} members"), each);
    Ok(())
}

fn each_of(bytes: u64, count: usize) -> Result<u64> {
    Ok(bytes / u64::try_from(count.max(1))?)
}

fn show_ms(series: &Series) -> f64 {
    (series.percentile(50).as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_of_the_dearest_and_the_cheapest() {
        assert!((spread(&[2.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(spread(&[]).abs() < f64::EPSILON);
        assert!(spread(&[0.0, 1.0]).abs() < f64::EPSILON);
    }
}

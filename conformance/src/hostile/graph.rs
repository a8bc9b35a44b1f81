//! Graphs that are expensive to walk.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::stage::{Stage, Watch};
use crate::{
    evil::Event,
    report::Report,
    servers::{Server, TestCa},
};

/// What a transaction may take at most, in a debug build beside other tests: the last ones of an
/// attack must not cost more than the first ones.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(20);
/// How many requests a gap may make the server send.
const GAP_REQUESTS: usize = 70;

/// What an attack cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// All of it.
    pub seconds: f64,
    /// The last transaction or request.
    pub last_ms: u64,
    /// The slowest answer to a bystander.
    pub bystander_ms: u64,
}

/// Plays the attacks of this file.
pub(super) async fn play(
    report: &mut Report,
    server: &Server,
    ca: &TestCa,
    version: &str,
    size: usize,
) {
    let forks = async |kind| forks(&Stage::set(server, ca, version, 100).await?, size, kind).await;
    cost(report, "forks_of_messages", size, forks(Forks::Messages)).await;
    cost(report, "forks_of_one_state", size, forks(Forks::OneState)).await;
    cost(report, "forks_of_many_states", size, forks(Forks::ManyStates)).await;
    let chain = async { deep_chain(&Stage::set(server, ca, version, 0).await?, size).await };
    cost(report, "deep_chain", size, chain).await;
    let authority = size / 5;
    let chain = async { auth_chain(&Stage::set(server, ca, version, 0).await?, authority).await };
    cost(report, "chain_of_authority", authority, chain).await;
    let wide = size / 10;
    let conflict =
        async { wide_conflict(&Stage::set(server, ca, version, 100).await?, wide).await };
    cost(report, "wide_conflict", wide, conflict).await;
}

async fn cost(
    report: &mut Report,
    name: &str,
    size: usize,
    work: impl Future<Output = Result<Cost>>,
) {
    let mut cost = None;
    let case = async {
        cost = Some(work.await?);
        Ok(())
    };
    report.case(&format!("{name}: {size}"), case).await;
    if let Some(cost) = cost {
        report.figure(&format!("{name}_seconds"), (cost.seconds * 10.0).round() / 10.0);
        report.figure(&format!("{name}_last_ms"), cost.last_ms);
        report.figure(&format!("{name}_bystander_ms"), cost.bystander_ms);
    }
}

/// What the forks say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forks {
    /// Messages.
    Messages,
    /// All the same piece of state.
    OneState,
    /// Each a piece of state of its own.
    ManyStates,
}

/// Many events that all follow the same one.
pub async fn forks(stage: &Stage<'_>, count: usize, kind: Forks) -> Result<Cost> {
    let base = stage.base()?;
    let topic = json!({ "topic": "a fork" });
    let events: Vec<Event> = (0..count)
        .map(|number| {
            let (room, mallory) = (&stage.room, &stage.mallory);
            let draft = match kind {
                Forks::Messages => room.message(mallory, &format!("fork {number}")),
                Forks::OneState => {
                    let topic = json!({ "topic": format!("fork {number}") });
                    room.state_draft(mallory, "m.room.topic", "", topic)
                }
                Forks::ManyStates => {
                    let key = number.to_string();
                    room.state_draft(mallory, "org.example.fork", &key, topic.clone())
                }
            };
            stage.seal(&stage.after(draft?, &base)?)
        })
        .collect::<Result<_>>()?;
    let cost = attack(stage, &events).await?;
    stage.goes_on("forks").await?;
    let power = stage.state("m.room.power_levels", "").await?;
    ensure!(power["users"][&stage.mallory] == 100, "the power levels became {power}");
    Ok(cost)
}

/// Sends all events, with an eye on a bystander.
async fn attack(stage: &Stage<'_>, events: &[Event]) -> Result<Cost> {
    let watch = Watch::begin(stage.server).await?;
    let begun = Instant::now();
    let mut last = Duration::ZERO;
    for some in events.chunks(50) {
        let begun = Instant::now();
        stage.flood(some).await?;
        last = begun.elapsed();
    }
    ensure!(last < TRANSACTION_LIMIT, "the last transaction took {last:?}");
    Ok(Cost {
        seconds: begun.elapsed().as_secs_f64(),
        last_ms: millis(last),
        bystander_ms: millis(watch.end().await?),
    })
}

/// The end of a long chain of which the server has nothing.
pub async fn deep_chain(stage: &Stage<'_>, length: usize) -> Result<Cost> {
    let mut chain = Vec::with_capacity(length);
    for number in 0..length {
        let draft = stage.room.message(&stage.mallory, &format!("link {number}"))?;
        chain.push(stage.peer.put_in(&stage.room, &draft)?);
    }
    let last = chain.last().context("an empty chain")?.clone();
    let cost = attack(stage, std::slice::from_ref(&last)).await?;
    let asked = ["get_missing_events", "state_ids", "state", "event", "event_auth", "backfill"];
    let requests: usize = asked.iter().map(|piece| stage.peer.seen(piece).len()).sum();
    ensure!(requests <= GAP_REQUESTS, "the server asked {requests} times");
    ensure!(stage.is_shown(&last).await?, "the end of the chain is not shown");
    stage.goes_on("a chain").await?;
    Ok(cost)
}

/// Somebody renames themselves again and again, each time authorised by the last, and then twice at
/// once: where the two agree lies just below, and nothing of the chain need be walked.
pub async fn auth_chain(stage: &Stage<'_>, length: usize) -> Result<Cost> {
    let rename = |name: &str| {
        let content = json!({ "membership": "join", "displayname": name });
        stage.room.state_draft(&stage.mallory, "m.room.member", &stage.mallory, content)
    };
    let mut chain = Vec::with_capacity(length);
    for number in 0..length {
        chain.push(stage.peer.put_in(&stage.room, &rename(&format!("name {number}"))?)?);
    }
    stage.flood(&chain).await?;
    let base = stage.base()?;
    let names = (0..10).map(|number| format!("fork {number}"));
    let forks = names
        .map(|name| stage.seal(&stage.after(rename(&name)?, &base)?))
        .collect::<Result<Vec<_>>>()?;
    let mut cost = attack(stage, &forks).await?;
    // From the first one on, which all of the chain lies above.
    let first = chain.first().context("an empty chain")?;
    let mut old = stage.after(rename("the oldest")?, &first.id)?;
    let auth = crate::evil::references(&first.pdu["auth_events"]);
    let mut auth: Vec<String> = auth
        .into_iter()
        .filter(|id| {
            let member = stage.room.event(id).is_some_and(|event| event.kind() == "m.room.member");
            !member
        })
        .collect();
    auth.push(first.id.clone());
    old["auth_events"] = stage.room.references(auth.iter().map(String::as_str))?;
    let oldest = attack(stage, &[stage.seal(&old)?]).await?;
    cost.last_ms = cost.last_ms.max(oldest.last_ms);
    cost.bystander_ms = cost.bystander_ms.max(oldest.bystander_ms);
    stage.goes_on("a chain of authority").await?;
    Ok(cost)
}

/// Two branches that disagree about many pieces of state, and then talk on both.
pub async fn wide_conflict(stage: &Stage<'_>, width: usize) -> Result<Cost> {
    let base = stage.base()?;
    let mut ends = Vec::new();
    for branch in ["left", "right"] {
        let mut end = base.clone();
        let mut events = Vec::with_capacity(width);
        for number in 0..width / 2 {
            let content = json!({ "branch": branch });
            let key = number.to_string();
            let draft =
                stage.room.state_draft(&stage.mallory, "org.example.wide", &key, content)?;
            let event = stage.seal(&stage.after(draft, &end)?)?;
            end.clone_from(&event.id);
            stage.room.keep(&event);
            events.push(event);
        }
        stage.flood(&events).await?;
        ends.push(end);
    }
    let mut talk = Vec::new();
    for number in 0..10 {
        for end in &mut ends {
            let draft = stage.room.message(&stage.mallory, &format!("talk {number}"))?;
            let event = stage.seal(&stage.after(draft, end)?)?;
            stage.room.keep(&event);
            end.clone_from(&event.id);
            talk.push(event);
        }
    }
    let cost = attack(stage, &talk).await?;
    stage.goes_on("a wide conflict").await?;
    Ok(cost)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

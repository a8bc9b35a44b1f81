//! Another server makes what is expensive to judge: long chains of authority, rooms whose members come and go by the
//! thousand, lists of servers that are slow to match, events that follow what nobody has.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::siege::{Options, Siege};
use crate::{
    evil::Event,
    hostile::{Stage, graph},
};

/// How many requests one event may make the server send.
const FETCHES: usize = 20;
/// How many predecessors an event names at most.
const PREDECESSORS: usize = 20;
/// How many bytes of patterns are put into one list of servers; an event has 65,536 at most.
const PATTERNS: usize = 55_000;
/// The paths by which events are fetched.
const ASKED: [&str; 6] =
    ["get_missing_events", "state_ids", "state", "event", "event_auth", "backfill"];

/// Plays the attacks and tells whether the server stood them.
pub async fn run(options: Options) -> Result<bool> {
    let (size, version) = (options.size, options.room_version.clone());
    let mut siege = Siege::begin(options).await?;
    let chain = size / 5;
    siege
        .attack("chain of authority", chain, async |server, ca, _| {
            let stage = Stage::set(server, ca, &version, 0).await?;
            graph::auth_chain(&stage, chain).await.map(drop)
        })
        .await;
    siege
        .attack("members who come and go", size, async |server, ca, _| {
            churn(&Stage::set(server, ca, &version, 50).await?, size).await
        })
        .await;
    siege
        .attack("a slow list of servers", size, async |server, ca, _| {
            slow_list(&Stage::set(server, ca, &version, 100).await?, size).await
        })
        .await;
    let unknown = (size / 2).max(1);
    siege
        .attack("unknown predecessors", unknown, async |server, ca, report| {
            let stage = Stage::set(server, ca, &version, 0).await?;
            let fetches = unknown_predecessors(&stage, unknown).await?;
            report.figure("unknown_predecessors_named", unknown * PREDECESSORS);
            report.figure("requests_for_them", fetches);
            Ok(())
        })
        .await;
    siege.end()
}

/// Users of the other server join and leave, one after the other.
async fn churn(stage: &Stage<'_>, size: usize) -> Result<()> {
    let mut events = Vec::with_capacity(50);
    for number in 0..size / 2 {
        let user = stage.peer.user(&format!("member{number}"));
        for membership in ["join", "leave"] {
            let draft = stage.room.member(&user, &user, membership)?;
            events.push(stage.peer.put_in(&stage.room, &draft)?);
        }
        if events.len() >= 50 {
            stage.flood(&events).await?;
            events.clear();
        }
    }
    stage.flood(&events).await?;
    stage.goes_on("members who came and went").await.map(drop)
}

/// A list of servers as large as an event may be, of patterns that match slowly, and then messages, each of which is
/// held against it.
async fn slow_list(stage: &Stage<'_>, size: usize) -> Result<()> {
    let pattern = "*?*?*?*?*?*?*?*?*?*?*?*?x";
    let count = PATTERNS / (pattern.len() + 3);
    let deny: Vec<Value> = (0..count).map(|_| json!(pattern)).collect();
    let list = json!({ "allow": ["*"], "deny": deny, "allow_ip_literals": true });
    let draft = stage.room.state_draft(&stage.mallory, "m.room.server_acl", "", list)?;
    let mut events = vec![stage.peer.put_in(&stage.room, &draft)?];
    for number in 0..size {
        let draft = stage.room.message(&stage.mallory, &format!("message {number}"))?;
        events.push(stage.peer.put_in(&stage.room, &draft)?);
    }
    stage.flood(&events).await?;
    stage.goes_on("a slow list").await.map(drop)
}

/// Events that follow twenty others each, none of which anybody has. How many requests they led to.
async fn unknown_predecessors(stage: &Stage<'_>, count: usize) -> Result<usize> {
    let before = requests(stage);
    let mut events = Vec::with_capacity(count);
    for number in 0..count {
        let mut draft = stage.room.message(&stage.mallory, &format!("follows nothing {number}"))?;
        let unknown = |place: usize| format!("${:043}", number * PREDECESSORS + place);
        draft["prev_events"] = json!((0..PREDECESSORS).map(unknown).collect::<Vec<_>>());
        events.push(stage.seal(&draft)?);
    }
    send_all(stage, &events).await?;
    let fetches = requests(stage) - before;
    ensure!(fetches <= count * FETCHES, "{count} events made the server ask {fetches} times");
    stage.goes_on("unknown predecessors").await?;
    Ok(fetches)
}

async fn send_all(stage: &Stage<'_>, events: &[Event]) -> Result<()> {
    // One to a transaction: what one of them costs is not to be shared.
    for event in events {
        stage.flood(std::slice::from_ref(event)).await?;
    }
    Ok(())
}

fn requests(stage: &Stage<'_>) -> usize {
    ASKED.iter().map(|piece| stage.peer.seen(piece).len()).sum()
}

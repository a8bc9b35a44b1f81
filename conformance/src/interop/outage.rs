//! One server is away for a while: afterwards it has everything that happened meanwhile.

use anyhow::{Result, ensure};
use serde_json::json;

use super::stage::{Stage, bodies, count_aloud, ensure_counted};
use crate::{
    client::{Sync, User},
    report::Report,
    servers::Server,
};

/// Fewer than a server asks for when it fills a gap, and more.
const FEW: usize = 8;
const MANY: usize = 60;

/// Plays the cases of this file.
pub(super) async fn play(report: &mut Report, title: &str, stage: &Stage<'_>) {
    for count in [FEW, MANY] {
        let case = format!("{title}: guest's server misses {count} messages, catches up");
        report.case(&case, away_is_down(stage, count)).await;
        let case = format!("{title}: room's server misses {count} messages, catches up");
        report.case(&case, home_is_down(stage, count)).await;
    }
    report.case(&format!("{title}: state changed during an outage"), state_meanwhile(stage)).await;
    report.case(&format!("{title}: killed and caught up"), killed(stage)).await;
}

async fn away_is_down(stage: &Stage<'_>, count: usize) -> Result<()> {
    let room = stage.joint_room().await?;
    stage.away.stop()?;
    count_aloud(&stage.alice, &room, count).await?;
    stage.away.resume().await?;
    caught_up(&stage.alice, &stage.bob, &room, count).await
}

async fn home_is_down(stage: &Stage<'_>, count: usize) -> Result<()> {
    let room = stage.joint_room().await?;
    settle(stage, &room).await?;
    stage.home.stop()?;
    count_aloud(&stage.bob, &room, count).await?;
    stage.home.resume().await?;
    caught_up(&stage.bob, &stage.alice, &room, count).await
}

/// Lets a message pass so that the guest's server is known to the room's before it stops.
async fn settle(stage: &Stage<'_>, room: &str) -> Result<()> {
    let mut alice_sync = Sync::start(&stage.alice).await?;
    let id = stage.bob.say(room, "here I am").await?;
    alice_sync.event_with_id(room, &id).await?;
    stage.bob.redact(room, &id).await?;
    alice_sync.event(room, "the redaction", |event| event["type"] == "m.room.redaction").await?;
    Ok(())
}

/// `reader` sees what `speaker` said during the outage and what is said after it, once, in order.
async fn caught_up(speaker: &User, reader: &User, room: &str, count: usize) -> Result<()> {
    let mut sync = Sync::start(reader).await?;
    let last = speaker.say(room, &format!("message {count}")).await?;
    sync.event_with_id(room, &last).await?;
    let history = reader.history(room).await?;
    let found = bodies(&history, &speaker.id);
    ensure_counted(&found, count + 1, &format!("{} in the history of {}", speaker.id, reader.id))
}

async fn state_meanwhile(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    stage.away.stop()?;
    for number in 0..5 {
        let topic = json!({ "topic": format!("topic {number}") });
        stage.alice.set_state(&room, "m.room.topic", "", topic).await?;
    }
    stage.away.resume().await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let last = stage.alice.say(&room, "look at the topic").await?;
    bob_sync.event_with_id(&room, &last).await?;
    let topic = stage.bob.state(&room, "m.room.topic", "").await?.ok()?;
    ensure!(topic["topic"] == "topic 4", "the guest holds {topic}");
    Ok(())
}

/// The sending server is killed while the other is away: its queue must have survived.
async fn killed(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    stage.away.stop()?;
    count_aloud(&stage.alice, &room, FEW).await?;
    restart_by_kill(stage.home).await?;
    stage.away.resume().await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    // Nothing is said any more: what was queued has to come by itself.
    let last = format!("message {}", FEW - 1);
    bob_sync.event(&room, &last, |event| event["content"]["body"] == last.as_str()).await?;
    let history = stage.bob.history(&room).await?;
    ensure_counted(&bodies(&history, &stage.alice.id), FEW, "the guest's history")
}

async fn restart_by_kill(server: &Server) -> Result<()> {
    server.kill()?;
    server.resume().await?;
    Ok(())
}

//! What happens in a room that two servers share: messages, state, redactions, receipts, typing.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::stage::{Stage, bodies, count_aloud, ensure_counted};
use crate::{
    client::{Sync, path},
    report::Report,
};

/// How many messages each side sends.
const MESSAGES: usize = 100;
/// How often the stream is polled for messages that have not come yet.
const POLLS: usize = 400;

/// The stable room versions.
const VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// Plays the cases of this file.
pub(super) async fn play(report: &mut Report, title: &str, stage: &Stage<'_>) {
    let case = format!("{title}: {MESSAGES} messages each way, once and in order");
    report.case(&case, messages_both_ways(stage)).await;
    report.case(&format!("{title}: state changes travel"), state_changes(stage)).await;
    report.case(&format!("{title}: power given to the guest"), power_to_guest(stage)).await;
    report.case(&format!("{title}: redactions travel"), redactions(stage)).await;
    report.case(&format!("{title}: earlier history is fetched"), history(stage)).await;
    report.case(&format!("{title}: both change the same state"), same_state(stage)).await;
    report.case(&format!("{title}: typing and receipts"), typing_and_receipts(stage)).await;
    for version in VERSIONS {
        let case = format!("{title}: room version {version}");
        report.case(&case, room_version(stage, version)).await;
    }
}

async fn messages_both_ways(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let (sent, replied, at_alice, at_bob) = tokio::join!(
        count_aloud(&stage.alice, &room, MESSAGES),
        count_aloud(&stage.bob, &room, MESSAGES),
        collect(&mut alice_sync, &room),
        collect(&mut bob_sync, &room),
    );
    sent?;
    replied?;
    at_alice?;
    at_bob?;
    for (sync, whose) in [(&alice_sync, "alice"), (&bob_sync, "bob")] {
        for sender in [&stage.alice.id, &stage.bob.id] {
            let found = bodies(sync.timeline(&room), sender);
            ensure_counted(&found, MESSAGES, &format!("{sender} as seen by {whose}"))?;
        }
    }
    Ok(())
}

/// Polls until the messages of both sides are there, and once more for one too many.
async fn collect(sync: &mut Sync, room: &str) -> Result<()> {
    for _ in 0..POLLS {
        let messages = sync.timeline(room).iter().filter(|event| event["type"] == "m.room.message");
        if messages.count() >= 2 * MESSAGES {
            break;
        }
        sync.poll(Duration::from_secs(5)).await?;
    }
    sync.poll(Duration::from_secs(1)).await?;
    Ok(())
}

async fn state_changes(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let changes = [
        ("m.room.name", json!({ "name": "a new name" })),
        ("m.room.topic", json!({ "topic": "a new topic" })),
        ("org.example.colour", json!({ "colour": ["red", 7, null, { "deep": true }] })),
    ];
    for (kind, content) in changes {
        let id = stage.alice.set_state(&room, kind, "", content.clone()).await?;
        let seen = bob_sync.event_with_id(&room, &id).await?;
        let holds = subset(&content, &seen["content"]);
        ensure!(holds, "{kind} came as {}", seen["content"]);
        let current = stage.bob.state(&room, kind, "").await?.ok()?;
        ensure!(subset(&content, &current), "{kind} is {current} in the guest's state");
    }
    Ok(())
}

/// Servers may add to what was set (the topic's rich form), but not take away.
fn subset(part: &Value, whole: &Value) -> bool {
    match (part.as_object(), whole.as_object()) {
        (Some(part), Some(whole)) => part.iter().all(|(key, value)| whole.get(key) == Some(value)),
        _ => part == whole,
    }
}

async fn power_to_guest(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let refused = path("/_matrix/client/v3/rooms/{}/state/m.room.name/", &[&room]);
    let answer = stage.bob.api.put(&refused, json!({ "name": "mine" })).await?;
    answer.expect_error(403, "M_FORBIDDEN")?;
    let mut levels = stage.alice.state(&room, "m.room.power_levels", "").await?.ok()?;
    levels["users"][&stage.bob.id] = json!(60);
    let id = stage.alice.set_state(&room, "m.room.power_levels", "", levels).await?;
    bob_sync.event_with_id(&room, &id).await?;
    let name = json!({ "name": "the guest's name" });
    let id = stage.bob.set_state(&room, "m.room.name", "", name.clone()).await?;
    alice_sync.event_with_id(&room, &id).await?;
    let current = stage.alice.state(&room, "m.room.name", "").await?.ok()?;
    ensure!(current == name, "the name is {current}");
    Ok(())
}

async fn redactions(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let (alice, bob) = (&stage.alice, &stage.bob);
    // Each redacts a message of their own; then the host one of the guest's.
    let of_alice = alice.say(&room, "from home").await?;
    bob_sync.event_with_id(&room, &of_alice).await?;
    let of_bob = bob.say(&room, "from away").await?;
    alice_sync.event_with_id(&room, &of_bob).await?;
    let second_of_bob = bob.say(&room, "from away again").await?;
    alice_sync.event_with_id(&room, &second_of_bob).await?;

    let redaction = alice.redact(&room, &of_alice).await?;
    bob_sync.event_with_id(&room, &redaction).await?;
    ensure_redacted(bob, &room, &of_alice).await?;
    let redaction = bob.redact(&room, &of_bob).await?;
    alice_sync.event_with_id(&room, &redaction).await?;
    ensure_redacted(alice, &room, &of_bob).await?;
    let redaction = alice.redact(&room, &second_of_bob).await?;
    bob_sync.event_with_id(&room, &redaction).await?;
    ensure_redacted(bob, &room, &second_of_bob).await
}

async fn ensure_redacted(user: &crate::client::User, room: &str, id: &str) -> Result<()> {
    let event = user.event(room, id).await?.ok()?;
    ensure!(event["content"] == json!({}), "{} still sees {event}", user.id);
    let because = &event["unsigned"]["redacted_because"]["type"];
    ensure!(because == "m.room.redaction", "{} does not see why: {event}", user.id);
    Ok(())
}

async fn history(stage: &Stage<'_>) -> Result<()> {
    let room = stage.alice.create_public_room().await?;
    count_aloud(&stage.alice, &room, 50).await?;
    stage.bob.join(&room, &[stage.home.name()]).await?;
    let events = stage.bob.history(&room).await?;
    ensure_counted(&bodies(&events, &stage.alice.id), 50, "the guest's history")?;
    let first = events.first().map(|event| &event["type"]);
    ensure!(first == Some(&json!("m.room.create")), "the history begins with {first:?}");
    Ok(())
}

/// Both sides set the same state at the same time; afterwards both must hold the same value.
async fn same_state(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let mut levels = stage.alice.state(&room, "m.room.power_levels", "").await?.ok()?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    levels["users"][&stage.bob.id] = json!(60);
    let id = stage.alice.set_state(&room, "m.room.power_levels", "", levels).await?;
    bob_sync.event_with_id(&room, &id).await?;
    for round in 0..5 {
        let kind = "m.room.topic";
        let of = |who: &str| json!({ "topic": format!("topic {round} of {who}") });
        let (one, other) = tokio::join!(
            stage.alice.set_state(&room, kind, "", of("alice")),
            stage.bob.set_state(&room, kind, "", of("bob")),
        );
        // Each side has seen both events before the two states are compared.
        for id in [one?, other?] {
            alice_sync.event_with_id(&room, &id).await?;
            bob_sync.event_with_id(&room, &id).await?;
        }
        // A message of each side ties the two branches of the room together.
        for (from, to) in [(&stage.alice, &mut bob_sync), (&stage.bob, &mut alice_sync)] {
            let id = from.say(&room, "both were here").await?;
            to.event_with_id(&room, &id).await?;
        }
        let at_home = stage.alice.state(&room, kind, "").await?.ok()?;
        let away = stage.bob.state(&room, kind, "").await?.ok()?;
        ensure!(at_home == away, "round {round}: {at_home} at home, {away} away");
    }
    Ok(())
}

async fn typing_and_receipts(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let message = stage.alice.say(&room, "read me").await?;
    bob_sync.event_with_id(&room, &message).await?;
    let bob = &stage.bob;
    let target = path("/_matrix/client/v3/rooms/{}/typing/{}", &[&room, &bob.id]);
    bob.api.put(&target, json!({ "typing": true, "timeout": 30_000 })).await?.ok()?;
    let typing = |content: &Value| content["user_ids"] == json!([bob.id]);
    alice_sync.ephemeral(&room, "m.typing", typing).await?;
    let target = path("/_matrix/client/v3/rooms/{}/receipt/m.read/{}", &[&room, &message]);
    bob.api.post(&target, json!({})).await?.ok()?;
    let read = |content: &Value| content[&message]["m.read"][&bob.id]["ts"].is_u64();
    alice_sync.ephemeral(&room, "m.receipt", read).await
}

async fn room_version(stage: &Stage<'_>, version: &str) -> Result<()> {
    let options = json!({ "preset": "public_chat", "room_version": version });
    let room = stage.joint_room_with(options).await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let hello = stage.alice.say(&room, "hello").await?;
    bob_sync.event_with_id(&room, &hello).await?;
    let topic = json!({ "topic": format!("version {version}") });
    let id = stage.alice.set_state(&room, "m.room.topic", "", topic).await?;
    bob_sync.event_with_id(&room, &id).await?;
    let reply = stage.bob.say(&room, "hello yourself").await?;
    alice_sync.event_with_id(&room, &reply).await?;
    stage.alice.redact(&room, &reply).await?;
    stage.bob.leave(&room).await?;
    alice_sync.membership(&room, &stage.bob.id, "leave").await?;
    Ok(())
}

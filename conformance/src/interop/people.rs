//! How people come into a room and go: invitations, joins, knocks, leaves, kicks and bans.

use anyhow::{Result, ensure};
use serde_json::json;

use super::stage::Stage;
use crate::{client::Sync, report::Report};

/// Plays the cases of this file.
pub(super) async fn play(report: &mut Report, title: &str, stage: &Stage<'_>) {
    report.case(&format!("{title}: invited, joins, talks"), invite_and_join(stage)).await;
    report.case(&format!("{title}: invited, refuses"), invite_and_refuse(stage)).await;
    report.case(&format!("{title}: invitation taken back"), invite_and_revoke(stage)).await;
    report.case(&format!("{title}: invited by a guest"), guest_invites_home(stage)).await;
    report.case(&format!("{title}: joins by alias"), join_by_alias(stage)).await;
    report.case(&format!("{title}: knocks and is let in"), knock(stage)).await;
    report.case(&format!("{title}: may not join uninvited"), join_uninvited(stage)).await;
    report.case(&format!("{title}: leaves and comes back"), leave_and_return(stage)).await;
    report.case(&format!("{title}: kicked"), kick(stage)).await;
    report.case(&format!("{title}: banned and unbanned"), ban(stage)).await;
    report.case(&format!("{title}: guest with power bans"), guest_bans(stage)).await;
    report.case(&format!("{title}: profile of a stranger"), profile(stage)).await;
}

async fn invite_and_join(stage: &Stage<'_>) -> Result<()> {
    let (alice, bob) = (&stage.alice, &stage.bob);
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let options = json!({ "preset": "private_chat", "name": "by invitation" });
    let room = alice.create_room(options).await?;
    alice.invite(&room, &bob.id).await?;
    let invite = bob_sync.section("invite", &room).await?;
    let shown = invite["invite_state"]["events"].to_string();
    ensure!(shown.contains("by invitation"), "the invitation does not name the room: {shown}");
    bob.join(&room, &[]).await?;
    alice_sync.membership(&room, &bob.id, "join").await?;
    let hello = alice.say(&room, "hello").await?;
    bob_sync.event_with_id(&room, &hello).await?;
    let reply = bob.say(&room, "hello yourself").await?;
    let seen = alice_sync.event_with_id(&room, &reply).await?;
    ensure!(seen["sender"] == bob.id.as_str(), "a wrong sender: {seen}");
    Ok(())
}

async fn invite_and_refuse(stage: &Stage<'_>) -> Result<()> {
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let room = stage.alice.create_room(json!({ "preset": "private_chat" })).await?;
    stage.alice.invite(&room, &stage.bob.id).await?;
    bob_sync.section("invite", &room).await?;
    stage.bob.leave(&room).await?;
    alice_sync.membership(&room, &stage.bob.id, "leave").await?;
    bob_sync.section("leave", &room).await?;
    Ok(())
}

async fn invite_and_revoke(stage: &Stage<'_>) -> Result<()> {
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let room = stage.alice.create_room(json!({ "preset": "private_chat" })).await?;
    stage.alice.invite(&room, &stage.bob.id).await?;
    bob_sync.section("invite", &room).await?;
    stage.alice.kick(&room, &stage.bob.id).await?;
    bob_sync.section("leave", &room).await?;
    let refused = stage.bob.try_join(&room, &[stage.home.name()]).await?;
    ensure!(refused.status == 403, "joined without an invitation: {refused:?}");
    Ok(())
}

/// The guest's server signs an invitation for a user of the server that created the room.
async fn guest_invites_home(stage: &Stage<'_>) -> Result<()> {
    let carol = crate::client::User::register(stage.home, "carol").await?;
    let mut carol_sync = Sync::start(&carol).await?;
    let everybody_invites = json!({ "invite": 0 });
    let options =
        json!({ "preset": "public_chat", "power_level_content_override": everybody_invites });
    let room = stage.joint_room_with(options).await?;
    stage.bob.invite(&room, &carol.id).await?;
    carol_sync.section("invite", &room).await?;
    carol.join(&room, &[]).await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let hello = carol.say(&room, "hello, Bob").await?;
    bob_sync.event_with_id(&room, &hello).await?;
    Ok(())
}

async fn join_by_alias(stage: &Stage<'_>) -> Result<()> {
    let local = format!("hall-{}", crate::random::suffix()?);
    let options = json!({ "preset": "public_chat", "room_alias_name": local });
    let room = stage.alice.create_room(options).await?;
    let alias = format!("#{local}:{}", stage.home.name());
    let joined = stage.bob.join(&alias, &[]).await?;
    ensure!(joined == room, "{alias} led to {joined} and not to {room}");
    let state = stage.bob.state(&room, "m.room.canonical_alias", "").await?.ok()?;
    ensure!(state["alias"] == alias.as_str(), "the alias is not in the state: {state}");
    Ok(())
}

async fn knock(stage: &Stage<'_>) -> Result<()> {
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let rule = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
    let room = stage.alice.create_room(json!({ "initial_state": [rule] })).await?;
    let template = "/_matrix/client/v3/knock/{}?via={}&server_name={}";
    let home = stage.home.name();
    let target = crate::client::path(template, &[&room, home, home]);
    stage.bob.api.post(&target, json!({ "reason": "let me in" })).await?.ok()?;
    let knock = alice_sync.membership(&room, &stage.bob.id, "knock").await?;
    ensure!(knock["content"]["reason"] == "let me in", "the reason is lost: {knock}");
    stage.alice.invite(&room, &stage.bob.id).await?;
    bob_sync.section("invite", &room).await?;
    stage.bob.join(&room, &[home]).await?;
    alice_sync.membership(&room, &stage.bob.id, "join").await?;
    Ok(())
}

async fn join_uninvited(stage: &Stage<'_>) -> Result<()> {
    let room = stage.alice.create_room(json!({ "preset": "private_chat" })).await?;
    let refused = stage.bob.try_join(&room, &[stage.home.name()]).await?;
    refused.expect_error(403, "M_FORBIDDEN")?;
    Ok(())
}

async fn leave_and_return(stage: &Stage<'_>) -> Result<()> {
    let (mut alice_sync, _) = stage.follow().await?;
    let room = stage.joint_room().await?;
    stage.bob.leave(&room).await?;
    alice_sync.membership(&room, &stage.bob.id, "leave").await?;
    let unheard = stage.alice.say(&room, "is anybody there?").await?;
    stage.bob.join(&room, &[stage.home.name()]).await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let heard = stage.alice.say(&room, "welcome back").await?;
    bob_sync.event_with_id(&room, &heard).await?;
    let history = stage.bob.history(&room).await?;
    let found = history.iter().any(|event| event["event_id"] == unheard.as_str());
    ensure!(found, "what was said meanwhile is not in the history after the return");
    Ok(())
}

async fn kick(stage: &Stage<'_>) -> Result<()> {
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let room = stage.joint_room().await?;
    bob_sync.section("join", &room).await?;
    stage.alice.kick(&room, &stage.bob.id).await?;
    let kicked = bob_sync.membership(&room, &stage.bob.id, "leave").await?;
    ensure!(kicked["sender"] == stage.alice.id.as_str(), "kicked by a wrong sender: {kicked}");
    ensure!(kicked["content"]["reason"] == "kicked", "the reason is lost: {kicked}");
    let refused = stage.bob.try_send(&room, "m.room.message", "t", json!({})).await?;
    refused.expect_error(403, "M_FORBIDDEN")?;
    Ok(())
}

async fn ban(stage: &Stage<'_>) -> Result<()> {
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let room = stage.joint_room().await?;
    bob_sync.section("join", &room).await?;
    stage.alice.ban(&room, &stage.bob.id).await?;
    bob_sync.membership(&room, &stage.bob.id, "ban").await?;
    let refused = stage.bob.try_join(&room, &[stage.home.name()]).await?;
    ensure!(refused.status == 403, "joined in spite of the ban: {refused:?}");
    stage.alice.unban(&room, &stage.bob.id).await?;
    stage.bob.join(&room, &[stage.home.name()]).await?;
    let mut alice_sync = Sync::start(&stage.alice).await?;
    let back = stage.bob.say(&room, "I am back").await?;
    alice_sync.event_with_id(&room, &back).await?;
    Ok(())
}

async fn guest_bans(stage: &Stage<'_>) -> Result<()> {
    let carol = crate::client::User::register(stage.home, "carol").await?;
    let power = json!({ "users": { &stage.bob.id: 50 } });
    let options = json!({ "preset": "public_chat", "power_level_content_override": power });
    let room = stage.alice.create_room(with_creator(options, stage)).await?;
    stage.bob.join(&room, &[stage.home.name()]).await?;
    carol.join(&room, &[]).await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    let hello = carol.say(&room, "hello").await?;
    bob_sync.event_with_id(&room, &hello).await?;
    stage.bob.ban(&room, &carol.id).await?;
    alice_sync.membership(&room, &carol.id, "ban").await?;
    let refused = carol.try_join(&room, &[]).await?;
    ensure!(refused.status == 403, "joined in spite of the ban: {refused:?}");
    Ok(())
}

/// Up to room version 11 an override of `users` has to name the creator, from version 12 on it must
/// not; version 11 is asked for so that the case means the same on every server.
fn with_creator(mut options: serde_json::Value, stage: &Stage<'_>) -> serde_json::Value {
    options["room_version"] = json!("11");
    options["power_level_content_override"]["users"][&stage.alice.id] = json!(100);
    options
}

async fn profile(stage: &Stage<'_>) -> Result<()> {
    let target = |key: &str| {
        let template = "/_matrix/client/v3/profile/{}/{}";
        crate::client::path(template, &[&stage.alice.id, key])
    };
    let name = json!({ "displayname": "Alice from afar" });
    stage.alice.api.put(&target("displayname"), name).await?.ok()?;
    let seen = stage.bob.api.get(&target("displayname")).await?.ok()?;
    ensure!(seen["displayname"] == "Alice from afar", "the wrong profile: {seen}");
    Ok(())
}

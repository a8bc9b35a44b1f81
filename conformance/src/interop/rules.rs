//! The rules of a room hold for guests from other servers: restricted joins, history visibility and
//! access lists of servers.

use anyhow::{Result, ensure};
use serde_json::json;

use super::stage::Stage;
use crate::{client::Sync, report::Report};

/// Plays the cases of this file.
pub(super) async fn play(report: &mut Report, title: &str, stage: &Stage<'_>) {
    let case = format!("{title}: restricted to the members of another room");
    report.case(&case, restricted(stage)).await;
    let case = format!("{title}: history from before the join is hidden");
    report.case(&case, hidden_history(stage)).await;
    report.case(&format!("{title}: server shut out by an access list"), shut_out(stage)).await;
}

async fn restricted(stage: &Stage<'_>) -> Result<()> {
    let club = stage.alice.create_public_room().await?;
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    let rule = json!({
        "type": "m.room.join_rules",
        "content": { "join_rule": "restricted", "allow": allow },
    });
    let room = stage.alice.create_room(json!({ "initial_state": [rule] })).await?;
    let home = stage.home.name();
    let refused = stage.bob.try_join(&room, &[home]).await?;
    ensure!(refused.status == 403, "joined without being in the club: {refused:?}");
    stage.bob.join(&club, &[home]).await?;
    stage.bob.join(&room, &[home]).await?;
    let mut alice_sync = Sync::start(&stage.alice).await?;
    let join = alice_sync.membership(&room, &stage.bob.id, "join").await?;
    let authorised = &join["content"]["join_authorised_via_users_server"];
    ensure!(authorised == stage.alice.id.as_str(), "authorised by {authorised}");
    let hello = stage.bob.say(&room, "hello, club").await?;
    alice_sync.event_with_id(&room, &hello).await?;
    Ok(())
}

async fn hidden_history(stage: &Stage<'_>) -> Result<()> {
    let visibility = json!({
        "type": "m.room.history_visibility",
        "content": { "history_visibility": "joined" },
    });
    let options = json!({ "preset": "public_chat", "initial_state": [visibility] });
    let room = stage.alice.create_room(options).await?;
    let secret = stage.alice.say(&room, "not for later guests").await?;
    stage.bob.join(&room, &[stage.home.name()]).await?;
    let mut bob_sync = Sync::start(&stage.bob).await?;
    let open = stage.alice.say(&room, "for everybody here").await?;
    bob_sync.event_with_id(&room, &open).await?;
    let history = stage.bob.history(&room).await?;
    let sees = |id: &str| history.iter().any(|event| event["event_id"] == id);
    ensure!(sees(&open), "the guest does not see what was said after the join");
    ensure!(!sees(&secret), "the guest sees what was said before the join");
    let refused = stage.bob.event(&room, &secret).await?;
    ensure!(matches!(refused.status, 403 | 404), "the guest fetches it: {refused:?}");
    Ok(())
}

async fn shut_out(stage: &Stage<'_>) -> Result<()> {
    let room = stage.joint_room().await?;
    let fence = stage.joint_room().await?;
    let (mut alice_sync, mut bob_sync) = stage.follow().await?;
    // Access lists do not look at ports.
    let host = stage.away.name().split(':').next().unwrap_or_default();
    let list = json!({ "allow": ["*"], "deny": [host] });
    let id = stage.alice.set_state(&room, "m.room.server_acl", "", list).await?;
    bob_sync.event_with_id(&room, &id).await?;
    stage.bob.say(&room, "can you hear me?").await?;
    // Events reach a server in order, so what was said before the fence came there before it.
    let passed = stage.bob.say(&fence, "over the fence").await?;
    alice_sync.event_with_id(&fence, &passed).await?;
    let heard = alice_sync
        .timeline(&room)
        .iter()
        .any(|event| event["sender"] == stage.bob.id.as_str() && event["type"] == "m.room.message");
    ensure!(!heard, "a server on the access list was heard");
    Ok(())
}

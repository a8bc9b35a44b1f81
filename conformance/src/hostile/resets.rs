//! Old rights that are to come back: what state resolution of room version 12 closes, and what was
//! always closed.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::{
    evil::Event,
    report::Report,
    servers::{Server, TestCa},
};

/// Plays the attacks of this file.
pub(super) async fn play(report: &mut Report, server: &Server, ca: &TestCa) {
    for version in ["11", "12"] {
        let case = async { demoted(&Stage::set(server, ca, version, 50).await?).await };
        report.case(&format!("who lost power has lost it, version {version}"), case).await;
        let case = async { banned(&Stage::set(server, ca, version, 50).await?).await };
        report.case(&format!("who is banned stays banned, version {version}"), case).await;
    }
    let case = async { forgotten_rules(&Stage::set(server, ca, "12", 50).await?).await };
    report.case("agreed state is not thrown back, version 12", case).await;
    let case = async { creator(&Stage::set(server, ca, "12", 100).await?).await };
    report.case("nobody takes a room from who made it, version 12", case).await;
    let case = async { same_room(&Stage::set(server, ca, "12", 100).await?).await };
    report.case("no room begins twice, version 12", case).await;
}

/// Mallory acts on a branch from before the demotion, with the authority of then.
pub async fn demoted(stage: &Stage<'_>) -> Result<()> {
    let base = stage.base()?;
    let (old_power, before) = (stage.room.state_id("m.room.power_levels", "")?, base);
    demote(stage).await?;
    let topic = json!({ "topic": "Mallory's" });
    let mut events = vec![stage.room.state_draft(&stage.mallory, "m.room.topic", "", topic)?];
    let mut power = stage.state("m.room.power_levels", "").await?;
    power["users"][&stage.mallory] = json!(50);
    power["users_default"] = json!(50);
    events.push(stage.room.state_draft(&stage.mallory, "m.room.power_levels", "", power)?);
    send_from(stage, events, &before, &old_power).await?;
    ensure!(stage.state("m.room.topic", "").await? == Value::Null, "the topic is Mallory's");
    ensure_demoted(stage).await
}

/// Mallory talks and invites on a branch from before the ban.
pub async fn banned(stage: &Stage<'_>) -> Result<()> {
    let (base, power) = (stage.base()?, stage.room.state_id("m.room.power_levels", "")?);
    stage.alice.ban(&stage.room.id, &stage.mallory).await?;
    let message = stage.room.message(&stage.mallory, "not banned")?;
    let join = stage.room.member(&stage.mallory, &stage.mallory, "join")?;
    let unban = stage.room.member(&stage.mallory, &stage.peer.user("trent"), "invite")?;
    let events = send_from(stage, vec![message, join, unban], &base, &power).await?;
    for event in &events {
        ensure!(!stage.is_shown(event).await?, "{} is shown", event.pdu);
    }
    let member = stage.state("m.room.member", &stage.mallory).await?;
    ensure!(member["membership"] == "ban", "Mallory is {member}");
    stage.alice.say(&stage.room.id, "quiet now").await?;
    Ok(())
}

/// Branches that each know only an old part of the state, tied together by the attacker: the rules
/// that all agreed upon since then must not go back to what they were.
pub async fn forgotten_rules(stage: &Stage<'_>) -> Result<()> {
    let (base, old_power) = (stage.base()?, stage.room.state_id("m.room.power_levels", "")?);
    let closed = json!({ "join_rule": "invite" });
    stage.alice.set_state(&stage.room.id, "m.room.join_rules", "", closed.clone()).await?;
    demote(stage).await?;
    let latest = stage.alice.say(&stage.room.id, "agreed").await?;
    stage.peer.received_pdu("it", |pdu| pdu["content"]["body"] == "agreed").await?;
    let mut branches = Vec::new();
    for number in 0..5 {
        let name = json!({ "membership": "join", "displayname": format!("name {number}") });
        branches.push(stage.room.state_draft(
            &stage.mallory,
            "m.room.member",
            &stage.mallory,
            name,
        )?);
    }
    let branches = send_from(stage, branches, &base, &old_power).await?;
    let mut tie = stage.room.message(&stage.mallory, "tied together")?;
    let ends = branches.iter().map(|event| event.id.as_str()).chain([latest.as_str()]);
    tie["prev_events"] = stage.room.references(ends)?;
    stage.flood(&[stage.seal(&tie)?]).await?;
    let rules = stage.state("m.room.join_rules", "").await?;
    ensure!(rules == closed, "the join rules are {rules}");
    ensure_demoted(stage).await
}

/// An administrator of the attacker's: whoever made the room is above all levels.
pub async fn creator(stage: &Stage<'_>) -> Result<()> {
    let mut power = stage.state("m.room.power_levels", "").await?;
    let original = power.clone();
    power["users"][&stage.alice.id] = json!(0);
    let listed = stage.room.state_draft(&stage.mallory, "m.room.power_levels", "", power)?;
    let kick = stage.room.member(&stage.mallory, &stage.alice.id, "leave")?;
    let ban = stage.room.member(&stage.mallory, &stage.alice.id, "ban")?;
    for draft in [listed, kick, ban] {
        let event = stage.seal(&draft)?;
        stage.flood(std::slice::from_ref(&event)).await?;
        ensure!(!stage.is_shown(&event).await?, "{} is shown", event.pdu);
    }
    let power = stage.state("m.room.power_levels", "").await?;
    ensure!(power == original, "the power levels became {power}");
    stage.goes_on("a revolt").await?;
    Ok(())
}

/// The room's id is the hash of its create event: another one makes another room.
pub async fn same_room(stage: &Stage<'_>) -> Result<()> {
    let content = json!({ "room_version": "12" });
    let mut draft = stage.room.state_draft(&stage.mallory, "m.room.create", "", content)?;
    for (prev, room_id) in [(true, true), (false, true), (false, false)] {
        if !prev {
            draft["prev_events"] = json!([]);
            draft["auth_events"] = json!([]);
        }
        if !room_id && let Some(object) = draft.as_object_mut() {
            object.remove("room_id");
        }
        let event = stage.seal(&draft)?;
        stage.flood(std::slice::from_ref(&event)).await?;
        ensure!(!stage.is_shown(&event).await?, "{} is shown", event.pdu);
    }
    let create = stage.state("m.room.create", "").await?;
    ensure!(create["room_version"] == "12", "the room begins with {create}");
    let mut cites = stage.room.message(&stage.mallory, "citing the beginning")?;
    let id = stage.room.id.replacen('!', "$", 1);
    if let Some(auth) = cites["auth_events"].as_array_mut() {
        auth.push(json!(id));
    }
    let event = stage.seal(&cites)?;
    stage.flood(std::slice::from_ref(&event)).await?;
    ensure!(!stage.is_shown(&event).await?, "what cites the beginning is shown");
    stage.goes_on("beginnings").await?;
    Ok(())
}

async fn demote(stage: &Stage<'_>) -> Result<()> {
    let mut power = stage.state("m.room.power_levels", "").await?;
    power["users"][&stage.mallory] = json!(0);
    stage.alice.set_state(&stage.room.id, "m.room.power_levels", "", power).await?;
    let mallory = stage.mallory.clone();
    stage
        .peer
        .received_pdu("the demotion", move |pdu| {
            pdu["type"] == "m.room.power_levels" && pdu["content"]["users"][&mallory] == 0
        })
        .await?;
    Ok(())
}

async fn ensure_demoted(stage: &Stage<'_>) -> Result<()> {
    let power = stage.state("m.room.power_levels", "").await?;
    ensure!(power["users"][&stage.mallory] == 0, "the power levels became {power}");
    ensure!(power["users_default"] != 50, "the power levels became {power}");
    stage.goes_on("a demotion").await?;
    Ok(())
}

/// Sends drafts as if nothing had happened since `before`: each follows it, with that authority.
async fn send_from(
    stage: &Stage<'_>,
    drafts: Vec<Value>,
    before: &str,
    power: &str,
) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    for draft in drafts {
        let mut draft = stage.after(draft, before)?;
        let mut auth = vec![power.to_owned()];
        for id in crate::evil::references(&draft["auth_events"]) {
            let kind = stage.room.event(&id).map(|event| event.kind().to_owned());
            if kind.as_deref() != Some("m.room.power_levels") && id != power {
                auth.push(id);
            }
        }
        draft["auth_events"] = stage.room.references(auth.iter().map(String::as_str))?;
        let event = stage.seal(&draft)?;
        stage.room.keep(&event);
        events.push(event);
    }
    stage.flood(&events).await?;
    Ok(events)
}

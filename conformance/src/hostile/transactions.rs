//! Events that are not what they should be, in transactions with good ones.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::{
    evil::Event,
    report::Report,
    servers::{Server, TestCa},
};

/// The greatest depth there is.
const MAX_DEPTH: i64 = (1 << 53) - 1;

/// Plays the attacks of this file.
pub(super) async fn play(report: &mut Report, server: &Server, ca: &TestCa, version: &str) {
    let case = async { bad_among_good(&Stage::set(server, ca, version, 50).await?).await };
    report.case("bad events among good ones", case).await;
    let case = async { twice_the_same_id(&Stage::set(server, ca, "1", 50).await?).await };
    report.case("one id with two contents, room version 1", case).await;
    let case = async { changed_on_the_way(&Stage::set(server, ca, version, 50).await?).await };
    report.case("one id with two contents", case).await;
    let case = async { future_depth(&Stage::set(server, ca, version, 50).await?).await };
    report.case("depths and times of the far future", case).await;
}

/// Unsigned, forged, too large, authorised by another room, with too many of everything: none is
/// taken, and each good one beside them is.
pub async fn bad_among_good(stage: &Stage<'_>) -> Result<()> {
    let bad = bad_events(stage).await?;
    let mut good = Vec::new();
    for (name, bad) in &bad {
        let draft = stage.room.message(&stage.mallory, &format!("beside {name}"))?;
        let event = stage.peer.put_in(&stage.room, &draft)?;
        stage.flood(&[bad.clone(), event.clone()]).await?;
        good.push(event);
    }
    for event in &good {
        ensure!(stage.is_shown(event).await?, "a good event is missing: {}", event.pdu);
    }
    for (name, event) in &bad {
        ensure!(!stage.is_shown(event).await?, "{name} is shown");
    }
    stage.goes_on("bad events").await?;
    Ok(())
}

async fn bad_events(stage: &Stage<'_>) -> Result<Vec<(&'static str, Event)>> {
    let (room, mallory) = (&stage.room, &stage.mallory);
    let message = |body: &str| room.message(mallory, body);
    let sealed = |draft: Value| stage.seal(&draft);
    let changed = |change: &dyn Fn(&mut Value)| -> Result<Event> {
        let mut draft = message("changed")?;
        change(&mut draft);
        stage.seal(&draft)
    };
    let unsigned = sealed(message("unsigned")?)?.tampered(|pdu| pdu["signatures"] = json!({}));
    let broken = sealed(message("broken")?)?.with_broken_signature(&stage.peer.name);
    let in_her_name = sealed(room.message(&stage.alice.id, "in Alice's name")?)?;
    let too_large = sealed(message(&"x".repeat(65_536))?)?;
    let elsewhere = stage.alice.create_public_room().await?;
    let elsewhere = stage.peer.join(stage.server, &elsewhere, mallory).await?;
    let foreign = elsewhere.state_id("m.room.member", mallory)?;
    let power = room.state_id("m.room.power_levels", "")?;
    let wrong_room = changed(&|draft| draft["auth_events"] = json!([power, foreign]))?;
    let unknown: Vec<String> = (0..10).map(|number| format!("$unknown{number:037}")).collect();
    let unknown_auth = changed(&|draft| draft["auth_events"] = json!(unknown))?;
    let many: Vec<String> = (0..200).map(|number| format!("$many{number:039}")).collect();
    let many_prev = changed(&|draft| draft["prev_events"] = json!(many))?;
    let many_auth = changed(&|draft| draft["auth_events"] = json!(many))?;
    let content = json!({ "room_version": room.version });
    let create = sealed(room.state_draft(mallory, "m.room.create", "", content)?)?;
    Ok(vec![
        ("an unsigned event", unsigned),
        ("a broken signature", broken),
        ("an event in Alice's name", in_her_name),
        ("an event that is too large", too_large),
        ("authority of another room", wrong_room),
        ("authority that nobody knows", unknown_auth),
        ("too many predecessors", many_prev),
        ("too much authority", many_auth),
        ("a second beginning", create),
    ])
}

/// In the first room versions events name themselves: what came first stays.
pub async fn twice_the_same_id(stage: &Stage<'_>) -> Result<()> {
    let first = stage.peer.put_in(&stage.room, &stage.room.message(&stage.mallory, "first")?)?;
    stage.flood(std::slice::from_ref(&first)).await?;
    for number in 0..20 {
        let mut second = stage.room.message(&stage.mallory, &format!("second {number}"))?;
        second["event_id"] = json!(first.id);
        let second = stage.seal(&second)?;
        ensure!(second.id == first.id, "the ids differ");
        stage.flood(&[second]).await?;
    }
    let shown = stage.alice.event(&stage.room.id, &first.id).await?.ok()?;
    ensure!(shown["content"]["body"] == "first", "it became {shown}");
    stage.goes_on("twins").await?;
    Ok(())
}

/// What was changed after it was signed has the same id and another content, which nobody is shown.
pub async fn changed_on_the_way(stage: &Stage<'_>) -> Result<()> {
    let original = stage.peer.put_in(&stage.room, &stage.room.message(&stage.mallory, "true")?)?;
    stage.flood(std::slice::from_ref(&original)).await?;
    let changed = original.tampered(|pdu| pdu["content"]["body"] = json!("false"));
    stage.flood(&[changed]).await?;
    let shown = stage.alice.event(&stage.room.id, &original.id).await?.ok()?;
    ensure!(shown["content"]["body"] == "true", "it became {shown}");

    let late = stage.peer.put_in(&stage.room, &stage.room.message(&stage.mallory, "true")?)?;
    let changed = late.tampered(|pdu| pdu["content"]["body"] = json!("false"));
    stage.flood(&[changed, late.clone()]).await?;
    let shown = stage.alice.event(&stage.room.id, &late.id).await?.ok()?;
    ensure!(shown["content"]["body"] != "false", "it became {shown}");
    stage.goes_on("changed events").await?;
    Ok(())
}

/// Depths at the end of what there is do not end the room. An event from a time for which no key is
/// good is signed by none.
pub async fn future_depth(stage: &Stage<'_>) -> Result<()> {
    for depth in [MAX_DEPTH, MAX_DEPTH - 1, 1] {
        let mut draft = stage.room.message(&stage.mallory, "from the future")?;
        draft["depth"] = json!(depth);
        let event = stage.peer.put_in(&stage.room, &draft)?;
        stage.flood(std::slice::from_ref(&event)).await?;
        ensure!(stage.is_shown(&event).await?, "depth {depth} is not shown");
        let body = format!("after depth {depth}");
        stage.alice.say(&stage.room.id, &body).await?;
        let said = |pdu: &Value| pdu["content"]["body"] == body.as_str();
        let heard = stage.peer.received_pdu("Alice", said).await?;
        ensure!(heard["depth"].as_i64().is_some_and(|depth| depth <= MAX_DEPTH), "{heard}");
    }
    let mut draft = stage.room.message(&stage.mallory, "from the end of time")?;
    draft["origin_server_ts"] = json!(MAX_DEPTH);
    let event = stage.seal(&draft)?;
    stage.flood(std::slice::from_ref(&event)).await?;
    ensure!(!stage.is_shown(&event).await?, "an event from the end of time is shown");
    stage.goes_on("the future").await?;
    let history = stage.alice.history(&stage.room.id).await?;
    let ours = |event: &&Value| event["sender"] == stage.alice.id.as_str();
    let said = history.iter().filter(ours).filter(|event| event["type"] == "m.room.message");
    let count = said.count();
    ensure!(count == 4, "Alice's messages are there {count} times");
    Ok(())
}

//! Events of rooms that we are not in. Of interest are only those that end what a user of ours is to
//! the room from outside: an invite that is withdrawn, a knock that is refused.

use ruma::{OwnedEventId, RoomId, ServerName, UserId, events::TimelineEventType};
use serde_json::value::RawValue;
use starling_storage::{
    Change, Fact,
    events::Write,
    memberships::{self, MembershipRow},
};

use super::{Results, intake};
use crate::{
    Engine,
    events::Pdu,
    internal::Internal,
    rooms::{room, serve::invite, versions},
};

/// Receives events that a server sent for a room that we are not in.
///
/// # Errors
///
/// When our own database fails.
pub async fn receive(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    pdus: &[Box<RawValue>],
) -> Result<Results, Internal> {
    let mut results = Results::new();
    for pdu in pdus {
        if let Some((event_id, result)) = receive_one(engine, origin, room_id, pdu).await? {
            results.insert(event_id, result);
        }
    }
    Ok(results)
}

/// What an event says before its room's version, and with it its ID, is known.
#[derive(serde::Deserialize)]
struct Member {
    #[serde(rename = "type")]
    kind: TimelineEventType,
    state_key: Option<String>,
}

async fn receive_one(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    raw: &RawValue,
) -> Result<Option<(OwnedEventId, Result<(), String>)>, Internal> {
    let Some(member) = outside_member(engine, room_id, raw).await? else { return Ok(None) };
    let version = member.room_version.as_deref().and_then(|version| version.try_into().ok());
    let Some(rules) = version.and_then(|version| versions::rules(&version)) else {
        return Ok(None);
    };
    let taken = intake::take(engine, room_id, &rules, &[raw.to_owned()]).await?;
    let Some(Ok(pdu)) = taken.into_iter().next() else { return Ok(None) };
    let event_id = pdu.event_id.clone();
    if !ends(&member, &pdu, origin) {
        return Ok(Some((event_id, Err("This server is not in the room".to_owned()))));
    }
    let _place = room::place(engine, room_id).await;
    // Meanwhile the user may have become something else.
    if outside_member(engine, room_id, raw).await?.as_ref() == Some(&member) {
        end(engine, &member, &pdu).await?;
    }
    Ok(Some((event_id, Ok(()))))
}

/// The membership that a user of ours has without the room, if the event is about it.
async fn outside_member(
    engine: &Engine,
    room_id: &RoomId,
    raw: &RawValue,
) -> Result<Option<MembershipRow>, Internal> {
    let Ok(event) = serde_json::from_str::<Member>(raw.get()) else { return Ok(None) };
    let user_id = event.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
    let Some(user_id) = user_id.filter(|user| user.server_name() == engine.config.server_name)
    else {
        return Ok(None);
    };
    if event.kind != TimelineEventType::RoomMember {
        return Ok(None);
    }
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    Ok(row.filter(|row| matches!(&*row.membership, "invite" | "knock")))
}

/// Whether to believe that it is over. The room's rules cannot be checked from outside: who invited
/// may take it back, and the server that was knocked at may refuse.
fn ends(member: &MembershipRow, pdu: &Pdu, origin: &ServerName) -> bool {
    let over = matches!(pdu.content_str("membership").as_deref(), Some("leave" | "ban"));
    let theirs = pdu.sender.server_name() == origin;
    let may = match &*member.membership {
        "invite" => pdu.sender == member.sender,
        _ => true,
    };
    over && theirs && may
}

async fn end(engine: &Engine, member: &MembershipRow, pdu: &Pdu) -> Result<(), Internal> {
    let mut change = Change::new();
    change.write(Write::Put(Box::new(invite::outlier(engine, pdu))));
    let (user_id, room_id) = (member.user_id.clone(), member.room_id.clone());
    let at = change.fact(Fact::Membership { user_id, room_id });
    let row = MembershipRow {
        membership: pdu.content_str("membership").unwrap_or_else(|| "leave".to_owned()),
        event_id: pdu.event_id.to_string(),
        sender: pdu.sender.to_string(),
        forgotten: engine.config.forget_upon_leave,
        stripped_state: None,
        ..member.clone()
    };
    change.write(memberships::Write::Put { row, at });
    engine.storage.commit(change).await?;
    Ok(())
}

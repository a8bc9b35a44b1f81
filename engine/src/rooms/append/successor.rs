//! What a user of ours takes along into a room that replaces another: tags and other account data of
//! the room, its place among the direct conversations, and push rules about it.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-16>

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::StateEventType};
use serde_json::{Map, Value};
use starling_storage::{
    Change, Claim, Conn, Fact,
    account_data::{self, Expected, Write},
    memberships,
};

use super::members;
use crate::{
    events::Pdu,
    internal::Internal,
    push,
    rooms::{batch::Batch, room},
};

/// How many pieces of account data of a room are taken along.
const MAX_PIECES: usize = 200;

/// How many memberships of a user are looked at for whether they were in the new room before.
const MAX_MEMBERSHIPS: usize = 10;

/// Account data about places in the old room, which mean nothing in the new one.
const LEFT_BEHIND: [&str; 3] = ["m.fully_read", "m.marked_unread", "com.famedly.marked_unread"];

/// The account data that says which rooms are conversations of two.
const DIRECT: &str = "m.direct";

/// Takes along what a user has set for the room that the batch's room replaces, as they join after
/// what they were `before`. What they have set for the new room already stays, and what they have
/// removed there does not come back when they do.
///
/// Any room can say that it replaces another. So the other one has to say it, too, unless it was this
/// user who said it.
pub(super) async fn take_along(
    batch: &mut Batch,
    user: &UserId,
    before: Option<Arc<Pdu>>,
) -> Result<(), Internal> {
    let Some((old, creator)) = predecessor(batch).await? else { return Ok(()) };
    let new = batch.room.id.clone();
    let engine = batch.engine.clone();
    let mut conn = engine.storage.read().await?;
    let was = memberships::get(&mut conn, user.as_str(), old.as_str()).await?;
    let was_there = was
        .is_some_and(|row| !row.forgotten && matches!(row.membership.as_str(), "join" | "leave"));
    drop(conn);
    let is_meant = old != new && was_there && !has_been_here(batch, user, before).await?;
    if !is_meant || (creator != user && !is_replaced(batch, &old).await?) {
        return Ok(());
    }
    let mut conn = engine.storage.read().await?;
    let change = &mut batch.change;
    room_data(&mut conn, change, user, &old, &new).await?;
    direct(&mut conn, change, user, &old, &new).await?;
    push::carry::room_rules(engine.config.push, &mut conn, change, user, &old, &new).await
}

/// Whether a user was in the batch's room at some time before: they may have been invited again since.
async fn has_been_here(
    batch: &Batch,
    user: &UserId,
    mut before: Option<Arc<Pdu>>,
) -> Result<bool, Internal> {
    let key = (StateEventType::RoomMember, user.to_string());
    for _ in 0..MAX_MEMBERSHIPS {
        let Some(event) = before else { return Ok(false) };
        let membership = members::membership(Some(&event));
        if membership == "join" {
            return Ok(true);
        }
        let stored = batch.event(&event.event_id).await?;
        let Some(root) = stored.and_then(|stored| stored.state_before) else {
            return Ok(matches!(&*membership, "leave" | "ban"));
        };
        before = batch.state(root, std::slice::from_ref(&key)).await?.remove(&key);
    }
    Ok(true)
}

/// Whether the other room names the batch's room as the one that replaces it.
async fn is_replaced(batch: &Batch, old: &RoomId) -> Result<bool, Internal> {
    let Some(room) = room::load(&batch.engine, old).await? else { return Ok(false) };
    let key = (StateEventType::RoomTombstone, String::new());
    let state = Batch::new(&batch.engine, &room)
        .state(room.row.current_state, std::slice::from_ref(&key))
        .await?;
    let successor = state.get(&key).and_then(|it| it.content_str("replacement_room"));
    Ok(successor.as_deref() == Some(batch.room.id.as_str()))
}

/// The room that the batch's room says to replace, and who says it.
async fn predecessor(batch: &Batch) -> Result<Option<(OwnedRoomId, OwnedUserId)>, Internal> {
    let key = (StateEventType::RoomCreate, String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    let Some(create) = state.get(&key) else { return Ok(None) };
    let content: Map<String, Value> = serde_json::from_str(create.content.get())?;
    let predecessor = content.get("predecessor").and_then(|it| it.get("room_id"));
    let predecessor = predecessor.and_then(Value::as_str).and_then(|id| id.try_into().ok());
    Ok(predecessor.map(|old| (old, create.sender.clone())))
}

async fn room_data(
    conn: &mut Conn,
    change: &mut Change,
    user: &UserId,
    old: &RoomId,
    new: &RoomId,
) -> Result<(), Internal> {
    let there = account_data::of_room(conn, user.as_str(), new.as_str()).await?;
    let pieces = account_data::of_room(conn, user.as_str(), old.as_str()).await?;
    let wanted = pieces.into_iter().filter(|(kind, content)| {
        content != account_data::REMOVED
            && !LEFT_BEHIND.contains(&kind.as_str())
            && there.iter().all(|(known, _)| known != kind)
    });
    for (kind, content) in wanted.take(MAX_PIECES) {
        put(change, user, new.as_str(), &kind, content, 0);
    }
    Ok(())
}

async fn direct(
    conn: &mut Conn,
    change: &mut Change,
    user: &UserId,
    old: &RoomId,
    new: &RoomId,
) -> Result<(), Internal> {
    let found = account_data::get_with_pos(conn, user.as_str(), "", DIRECT).await?;
    let Some((content, pos)) = found else { return Ok(()) };
    let Some(content) = with_successor(&content, old, new) else { return Ok(()) };
    put(change, user, "", DIRECT, content, pos);
    Ok(())
}

/// The direct conversations with a room beside the one that it replaces; `None` when that changes
/// nothing. The client wrote them, in whatever form.
fn with_successor(content: &str, old: &RoomId, new: &RoomId) -> Option<String> {
    let mut direct: Map<String, Value> = serde_json::from_str(content).ok()?;
    let mut changed = false;
    for rooms in direct.values_mut().filter_map(Value::as_array_mut) {
        let has = |id: &RoomId| rooms.iter().any(|room| room.as_str() == Some(id.as_str()));
        if has(old) && !has(new) {
            rooms.push(new.as_str().into());
            changed = true;
        }
    }
    changed.then(|| Value::Object(direct).to_string())
}

/// Sets account data that were set last at `pos`. When they are set by somebody else meanwhile, the
/// whole change is made again.
fn put(change: &mut Change, user: &UserId, room: &str, kind: &str, content: String, pos: i64) {
    let (user_id, room_id, kind) = (user.to_string(), room.to_owned(), kind.to_owned());
    let expected =
        Expected { user_id: user_id.clone(), room_id: room_id.clone(), kind: kind.clone(), pos };
    change.claim(Claim::AccountData(expected));
    let fact = Fact::AccountData {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        kind: kind.clone(),
    };
    let at = change.fact(fact);
    change.write(Write::Put { user_id, room_id, kind, content, at });
}

#[cfg(test)]
mod tests {
    use ruma::room_id;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conversation_goes_on_in_the_new_room() {
        let (old, new) = (room_id!("!old:x.org"), room_id!("!new:x.org"));
        let after = |content: Value| {
            let after = with_successor(&content.to_string(), old, new)?;
            serde_json::from_str::<Value>(&after).ok()
        };
        let content = json!({ "@b:x.org": ["!old:x.org"], "@c:x.org": ["!other:x.org"], "x": 1 });
        let mut wanted = content.clone();
        wanted["@b:x.org"] = json!(["!old:x.org", "!new:x.org"]);
        assert_eq!(after(content), Some(wanted.clone()));
        assert_eq!(after(wanted), None);
        assert_eq!(after(json!([])), None);
    }
}

//! Who is what in the room, as a table: memberships, names, and how many there are.

use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, UserId, events::StateEventType};
use starling_storage::{
    At,
    encryption::{self, lists},
    memberships::{self, MembershipRow, Write},
};

use super::{state::StateChange, successor, unread};
use crate::{
    events::{Pdu, StoredEvent},
    internal::Internal,
    rooms::batch::Batch,
    state::Changed,
};

/// How many members are looked at together.
pub(super) const AT_A_TIME: usize = 1_000;

/// How much of who is in the room was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// All of it: who is new has come.
    Wholly,
    /// Nothing: the room is taken over as it is.
    Not,
    /// A part of it: who is new was there before.
    InPart {
        /// Whether the room is encrypted.
        encrypted: bool,
    },
}

/// A member whose event in the current state changed.
struct Member {
    user_id: OwnedUserId,
    old: Option<Arc<Pdu>>,
    new: Option<Arc<Pdu>>,
}

/// Brings the memberships up to the current state.
pub(super) async fn follow(
    batch: &mut Batch,
    change: &StateChange,
    known: Known,
) -> Result<(), Internal> {
    let Some(at) = change.at else { return Ok(()) };
    let is_member = |it: &&Changed| it.key.0 == StateEventType::RoomMember;
    let changed: Vec<&Changed> = change.changed.iter().filter(is_member).collect();
    for some in changed.chunks(AT_A_TIME) {
        let events = events(batch, some, changed.len()).await?;
        for member in some.iter().filter_map(|changed| member(changed, &events)) {
            follow_one(batch, member, at, known).await?;
        }
    }
    Ok(())
}

/// The events of some changed members, of so many in all: where a large room is taken over, what is kept in
/// memory of others does not make way for its members.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn events(
    batch: &Batch,
    some: &[&Changed],
    of: usize,
) -> Result<HashMap<OwnedEventId, Arc<StoredEvent>>, Internal> {
    let ids = some.iter().flat_map(|it| it.old.iter().chain(&it.new)).cloned();
    let ids: Vec<OwnedEventId> = ids.collect();
    if of > AT_A_TIME { batch.events_in_passing(&ids).await } else { batch.events(&ids).await }
}

async fn follow_one(
    batch: &mut Batch,
    member: Member,
    at: At,
    known: Known,
) -> Result<(), Internal> {
    let Member { user_id, old, new } = member;
    let (old_kind, new_kind) = (membership(old.as_deref()), membership(new.as_deref()));
    let row = &mut batch.room.row;
    row.joined_members += count(&new_kind, "join") - count(&old_kind, "join");
    row.invited_members += count(&new_kind, "invite") - count(&old_kind, "invite");
    let local = user_id.server_name() == batch.engine.config.server_name;
    if local && old_kind != "join" && new_kind == "join" {
        unread::read_by_joining(batch, &user_id, at);
        successor::take_along(batch, &user_id, old.clone()).await?;
    }
    if (old_kind == "join") != (new_kind == "join") {
        note_move(batch, &user_id, new_kind == "join", at, known);
    }
    let Some(event) = new.or(old) else { return Ok(()) };
    let forgotten = local && is_forgotten(batch, &user_id, &old_kind, &new_kind).await?;
    let row = MembershipRow {
        user_id: user_id.to_string(),
        room_id: batch.room.id.to_string(),
        membership: new_kind,
        event_id: event.event_id.to_string(),
        sender: event.sender.to_string(),
        local,
        forgotten,
        pos: 0,
        display_name: event.content_str("displayname"),
        avatar_url: event.content_str("avatar_url"),
        stripped_state: None,
        room_version: None,
    };
    batch.change.write(Write::Put { row, at });
    Ok(())
}

/// Notes what follows for the lists of devices.
fn note_move(batch: &mut Batch, user_id: &UserId, joined: bool, at: At, known: Known) {
    let local = user_id.server_name() == batch.engine.config.server_name;
    let (room_id, user_id) = (batch.room.id.to_string(), user_id.to_string());
    let (room, user) = (room_id.clone(), user_id.clone());
    let moved = match known {
        // Those who were there before are told of with whoever comes.
        Known::Not => None,
        // "who now share an encrypted room with the client": in others there may be tens of thousands.
        Known::InPart { encrypted: false } if joined => {
            Some(lists::Write::Found { room_id: room, user_id: user, at })
        }
        Known::Wholly | Known::InPart { .. } => {
            Some(lists::Write::Moved { room_id: room, user_id: user, joined, at })
        }
    };
    let met = match (joined, local) {
        (true, true) => Some(lists::Write::Introduce { user_id, room_id }),
        // Into a room that is taken over, the user of this server comes for whom it is.
        (true, false) if known != Known::Not => Some(lists::Write::Arrived { user_id, room_id }),
        _ => None,
    };
    for write in moved.into_iter().chain(met) {
        batch.change.write(encryption::Write::Lists(write));
    }
}

/// A state key that is no user ID is legal in old rooms, and names nobody.
fn member(changed: &Changed, events: &HashMap<OwnedEventId, Arc<StoredEvent>>) -> Option<Member> {
    let user_id = changed.key.1.as_str().try_into().ok()?;
    let pdu = |id: &Option<OwnedEventId>| pdu(events, id.as_ref());
    Some(Member { user_id, old: pdu(&changed.old), new: pdu(&changed.new) })
}

fn pdu(
    events: &HashMap<OwnedEventId, Arc<StoredEvent>>,
    id: Option<&OwnedEventId>,
) -> Option<Arc<Pdu>> {
    id.and_then(|id| events.get(id)).map(|event| event.pdu.clone())
}

/// The membership that an event gives; `leave` without an event.
pub(in crate::rooms) fn membership(event: Option<&Pdu>) -> String {
    event.and_then(|event| event.content_str("membership")).unwrap_or_else(|| "leave".to_owned())
}

fn count(membership: &str, wanted: &str) -> i64 {
    i64::from(membership == wanted)
}

/// Whether a user forgets the room by leaving it, or forgot it and is still outside.
async fn is_forgotten(
    batch: &Batch,
    user_id: &OwnedUserId,
    old: &str,
    new: &str,
) -> Result<bool, Internal> {
    let outside = |membership: &str| matches!(membership, "leave" | "ban");
    if batch.engine.config.forget_upon_leave && outside(new) {
        return Ok(true);
    }
    if !outside(old) || !outside(new) {
        return Ok(false);
    }
    let mut conn = batch.engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), batch.room.id.as_str()).await?;
    Ok(row.is_some_and(|row| row.forgotten))
}

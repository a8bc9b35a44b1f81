//! What helps to name a room: how many are in it, and some of them.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, events::StateEventType};
use starling_storage::{
    memberships::{self, MembershipRow},
    rooms::RoomRow,
};

use super::state::Span;
use crate::{Internal, reading::reader::Reader, sync::answer::Summary};

/// How many members a room without a name is named by.
const HEROES: i64 = 5;

/// The members by whom to name a room; `None` when it has a name.
pub(super) async fn heroes(
    reader: &Reader,
    root: i64,
) -> Result<Option<BTreeSet<OwnedUserId>>, Internal> {
    for (kind, field) in
        [(StateEventType::RoomName, "name"), (StateEventType::RoomCanonicalAlias, "alias")]
    {
        let event = reader.state_event(root, kind, "").await?;
        let value = event.and_then(|event| event.pdu.content_str(field));
        if value.is_some_and(|value| !value.is_empty()) {
            return Ok(None);
        }
    }
    let rows = first_members(reader).await?;
    Ok(Some(rows.into_iter().map(|row| row.user_id.try_into()).collect::<Result<_, _>>()?))
}

/// The members by whom a room without a name is named.
pub(in crate::sync) async fn first_members(
    reader: &Reader,
) -> Result<Vec<MembershipRow>, Internal> {
    let inside = first(reader, &["join", "invite"]).await?;
    if inside.is_empty() { first(reader, &["leave", "ban"]).await } else { Ok(inside) }
}

async fn first(reader: &Reader, memberships: &[&str]) -> Result<Vec<MembershipRow>, Internal> {
    let kinds: Vec<String> = memberships.iter().map(ToString::to_string).collect();
    let mut conn = reader.engine.storage.read().await?;
    let (room_id, user_id) = (reader.room_id.as_str(), reader.user_id.as_str());
    Ok(memberships::first_of_room(&mut conn, room_id, &kinds, user_id, HEROES).await?)
}

/// Whether the summary may be another one than the client has.
pub(super) async fn changed(reader: &Reader, span: &Span) -> Result<bool, Internal> {
    if span.is_whole() {
        return Ok(true);
    }
    let named = |kind: &StateEventType| {
        matches!(
            kind,
            StateEventType::RoomMember
                | StateEventType::RoomName
                | StateEventType::RoomCanonicalAlias
        )
    };
    let changed = reader.snapshots.diff(span.base, span.end).await?;
    Ok(changed.iter().any(|changed| named(&changed.key.0)))
}

/// The summary.
pub(super) fn summary(room: &RoomRow, heroes: Option<&BTreeSet<OwnedUserId>>) -> Summary {
    Summary {
        heroes: heroes.map(|heroes| heroes.iter().map(ToString::to_string).collect()),
        joined: Some(room.joined_members),
        invited: Some(room.invited_members),
    }
}

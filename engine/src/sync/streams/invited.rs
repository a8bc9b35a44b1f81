//! Rooms at whose door the user is: invites and knocks, with the stripped state that comes with them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;
use starling_storage::{memberships::MembershipRow, state::roots_at};

use crate::{
    Engine, Internal,
    events::client,
    reading::{access::Asking, reader::Reader},
    rooms::serve::stripped,
    sync::{
        Sync,
        answer::{Events, InvitedRoom, KnockedRoom},
    },
};

/// New invites.
pub(super) async fn invites(sync: &Sync<'_>) -> Result<BTreeMap<String, InvitedRoom>, Internal> {
    let mut rooms = BTreeMap::new();
    for row in due(sync, "invite") {
        if sync.moment.permission.shows(&row.sender, &sync.moment.ignored) {
            let invite_state = stripped_events(sync, row).await?;
            rooms.insert(row.room_id.clone(), InvitedRoom { invite_state });
        }
    }
    Ok(rooms)
}

/// New knocks.
pub(super) async fn knocks(sync: &Sync<'_>) -> Result<BTreeMap<String, KnockedRoom>, Internal> {
    let mut rooms = BTreeMap::new();
    for row in due(sync, "knock") {
        let knock_state = stripped_events(sync, row).await?;
        rooms.insert(row.room_id.clone(), KnockedRoom { knock_state });
    }
    Ok(rooms)
}

fn due<'s>(
    sync: &'s Sync<'_>,
    membership: &'static str,
) -> impl Iterator<Item = &'s MembershipRow> {
    let since = sync.moment.since.filter(|_| !sync.request.full_state).unwrap_or(i64::MIN);
    let filter = &sync.request.filter.room;
    sync.moment.memberships.iter().filter(move |row| {
        row.membership == membership && row.pos > since && filter.wants_room(&row.room_id)
    })
}

async fn stripped_events(sync: &Sync<'_>, row: &MembershipRow) -> Result<Events, Internal> {
    Ok(Events { events: stripped_state(sync.engine, sync.asking, row).await? })
}

/// What came with the invite or knock; of a room that this server is in, what it would send.
pub(in crate::sync) async fn stripped_state(
    engine: &Engine,
    asking: Asking<'_>,
    row: &MembershipRow,
) -> Result<Vec<Box<RawValue>>, Internal> {
    let received = row.stripped_state.as_deref();
    if let Some(events) = received.and_then(|json| serde_json::from_str(json).ok()) {
        return Ok(events);
    }
    let room_id = OwnedRoomId::try_from(&*row.room_id)?;
    let (user_id, device_id) = (asking.user_id, asking.device_id);
    let reader = Reader::new(engine, &room_id, user_id, device_id, Some(row)).await?;
    let Some(reader) = reader else { return Ok(vec![]) };
    let mut conn = engine.storage.read().await?;
    let roots = roots_at(&mut conn, std::slice::from_ref(&row.room_id), row.pos).await?;
    drop(conn);
    let Some((_, root)) = roots.first() else { return Ok(vec![]) };
    let mut shown = stripped::of_room(engine, &room_id, *root).await?;
    let users = [&row.sender, &row.user_id].map(|id| OwnedUserId::try_from(id.as_str()));
    let members = reader.members_in(*root, users.iter().flatten()).await?;
    shown.extend(members.iter().map(|member| member.pdu.clone()));
    Ok(shown.iter().map(|pdu| client::to_stripped(pdu)).collect::<Result<_, _>>()?)
}

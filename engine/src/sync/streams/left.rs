//! Rooms that the user left or is banned from: each once, up to the leave and no later.

use std::{collections::BTreeMap, collections::BTreeSet};

use ruma::{OwnedRoomId, events::room::member::MembershipState};
use starling_storage::{memberships::MembershipRow, state::roots_at};

use super::{
    account_data,
    joined::{reader, was_joined},
    state::{Span, StateNews},
    timeline::Stretch,
};
use crate::{
    Internal,
    reading::{reader::Reader, show::Seen},
    rooms::visibility,
    state::EMPTY_ROOT,
    sync::{
        Sync,
        answer::{Events, LeftRoom, State},
    },
};

/// The rooms that the user left since the last /sync; in a first one all, if they are wanted.
pub(super) async fn rooms(sync: &Sync<'_>) -> Result<BTreeMap<String, LeftRoom>, Internal> {
    let mut rooms = BTreeMap::new();
    for row in &sync.moment.memberships {
        let is_out = matches!(row.membership.as_str(), "leave" | "ban");
        if !is_out || !is_due(sync, row) || !sync.request.filter.room.wants_room(&row.room_id) {
            continue;
        }
        rooms.insert(row.room_id.clone(), one(sync, row).await?);
    }
    Ok(rooms)
}

fn is_due(sync: &Sync<'_>, row: &MembershipRow) -> bool {
    let wanted = sync.request.filter.room.include_leave && !row.forgotten;
    match sync.moment.since {
        None => wanted,
        Some(since) => row.pos > since || (sync.request.full_state && wanted),
    }
}

async fn one(sync: &Sync<'_>, row: &MembershipRow) -> Result<LeftRoom, Internal> {
    let room_id = OwnedRoomId::try_from(&*row.room_id)?;
    let mut left = LeftRoom {
        account_data: account_data::of_room(sync, &row.room_id)?,
        state: State::new(sync.request.state, Events::default()),
        ..LeftRoom::default()
    };
    let Some(mut reader) = reader(sync, &room_id, row).await? else { return Ok(left) };
    let known = was_joined(sync, &reader, row).await?;
    if known || reader.joined_until() == Some(row.pos) {
        whole(sync, &mut reader, row, known, &mut left).await?;
    } else {
        let event = leave_event(&reader, row).await?;
        left.timeline = Stretch::of(event.into_iter().collect()).show(sync, &mut reader).await?;
    }
    Ok(left)
}

/// The room as the user saw it until they left.
async fn whole(
    sync: &Sync<'_>,
    reader: &mut Reader,
    row: &MembershipRow,
    known: bool,
    left: &mut LeftRoom,
) -> Result<(), Internal> {
    let after = sync.moment.since.filter(|_| known).unwrap_or(i64::MIN);
    let stretch = Stretch::read(sync, reader, after, row.pos).await?;
    let base = if known && !sync.request.full_state {
        sync.moment.roots.get(&row.room_id).copied().unwrap_or(EMPTY_ROOT)
    } else {
        EMPTY_ROOT
    };
    let mut conn = sync.engine.storage.read().await?;
    let roots = roots_at(&mut conn, std::slice::from_ref(&row.room_id), row.pos).await?;
    drop(conn);
    let end = roots.first().map_or(base, |(_, root)| *root);
    let span = Span::new(reader, base, &stretch, end).await?;
    let needed = BTreeSet::from([reader.user_id.clone()]);
    let news = StateNews::read(sync, reader, &span, &stretch, &needed).await?;
    left.timeline = stretch.show(sync, reader).await?;
    left.state = news.show(sync, reader).await?;
    Ok(())
}

/// The event by which an invite or knock ended, which is the user's own affair whatever the room's
/// history is open to.
pub(in crate::sync) async fn leave_event(
    reader: &Reader,
    row: &MembershipRow,
) -> Result<Option<Seen>, Internal> {
    let event = reader.own_event(row).await?;
    Ok(event.map(|event| {
        let membership: MembershipState = visibility::membership_of(Some(&event.pdu));
        Seen { event, pos: row.pos, membership }
    }))
}

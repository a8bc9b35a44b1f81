//! Rooms that the user is joined to.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, events::room::member::MembershipState};
use starling_storage::{memberships::MembershipRow, rooms::RoomRow, unread::Numbers};

use super::{
    account_data, ephemeral,
    state::{Span, StateNews},
    summary,
    timeline::Stretch,
};
use crate::{
    Internal,
    reading::reader::Reader,
    rooms::{unread::Unread, visibility},
    state::EMPTY_ROOT,
    sync::{
        Sync,
        answer::{Counts, JoinedRoom},
    },
};

/// The joined rooms in which something is new.
pub(super) async fn rooms(sync: &Sync<'_>) -> Result<BTreeMap<String, JoinedRoom>, Internal> {
    let mut rooms = BTreeMap::new();
    for row in &sync.moment.memberships {
        if row.membership != "join" {
            continue;
        }
        let Some(room) = sync.moment.rooms.get(&row.room_id) else { continue };
        if let Some(joined) = one(sync, row, room).await? {
            rooms.insert(row.room_id.clone(), joined);
        }
    }
    Ok(rooms)
}

/// What is new in one room; `None`: nothing.
async fn one(
    sync: &Sync<'_>,
    row: &MembershipRow,
    room: &RoomRow,
) -> Result<Option<JoinedRoom>, Internal> {
    let room_id = OwnedRoomId::try_from(&*row.room_id)?;
    let Some(mut reader) = reader(sync, &room_id, row).await? else { return Ok(None) };
    let fresh = !was_joined(sync, &reader, row).await?;
    let mut joined = JoinedRoom {
        ephemeral: ephemeral::of_room(sync, &room_id, fresh)?,
        account_data: account_data::of_room(sync, room_id.as_ref())?,
        ..JoinedRoom::default()
    };
    let moved = events(sync, &mut reader, room, fresh, &mut joined).await?;
    let whole = fresh || sync.request.full_state;
    let worth_it = whole
        || moved
        || !joined.ephemeral.events.is_empty()
        || !joined.account_data.events.is_empty()
        || ephemeral::own_receipt_moved(sync, &room_id);
    let unread = sync.moment.unread.get(&row.room_id).cloned().unwrap_or_default();
    count(sync, unread, &mut joined);
    Ok(worth_it.then_some(joined))
}

/// Timeline, state and summary; whether there is anything.
async fn events(
    sync: &Sync<'_>,
    reader: &mut Reader,
    room: &RoomRow,
    fresh: bool,
    joined: &mut JoinedRoom,
) -> Result<bool, Internal> {
    let whole = fresh || sync.request.full_state;
    let moved = fresh || sync.moment.moved.contains(&room.room_id);
    let stretch = if moved {
        let stretch = read(sync, reader, fresh).await?;
        // What reaches back before the client's token does not continue what the client has.
        match sync.moment.since {
            Some(since) if fresh => stretch.limited_if_before(since),
            _ => stretch,
        }
    } else {
        Stretch::of(vec![])
    };
    let base = match whole {
        true => EMPTY_ROOT,
        // A room that did not move is in the state in which it was.
        false if !moved => room.current_state,
        false => sync.moment.roots.get(&room.room_id).copied().unwrap_or(EMPTY_ROOT),
    };
    let span = Span::new(reader, base, &stretch, room.current_state).await?;
    let mut needed = BTreeSet::<OwnedUserId>::new();
    if summary::changed(reader, &span).await? {
        let heroes = summary::heroes(reader, span.end).await?;
        joined.summary = summary::summary(room, heroes.as_ref());
        needed.extend(heroes.into_iter().flatten());
    }
    if whole {
        needed.insert(reader.user_id.clone());
    }
    let news = StateNews::read(sync, reader, &span, &stretch, &needed).await?;
    joined.timeline = stretch.show(sync, reader).await?;
    joined.state = news.show(sync, reader).await?;
    let has_summary = joined.summary.joined.is_some();
    Ok(!stretch.events.is_empty() || stretch.limited || !news.is_empty() || has_summary)
}

/// What of the timeline is new: of a room that was heard of, what everybody there is told.
async fn read(sync: &Sync<'_>, reader: &mut Reader, fresh: bool) -> Result<Stretch, Internal> {
    let between = sync.moment.stretches.get(reader.room_id.as_str());
    if let Some(entries) = between.filter(|_| !fresh).and_then(|it| it.entries.as_deref()) {
        return Stretch::known(sync, reader, entries).await;
    }
    let after = sync.moment.since.filter(|_| !fresh).unwrap_or(i64::MIN);
    Stretch::read(sync, reader, after, sync.moment.head).await
}

/// The user as the reader of a room.
pub(super) async fn reader(
    sync: &Sync<'_>,
    room_id: &RoomId,
    row: &MembershipRow,
) -> Result<Option<Reader>, Internal> {
    let (user_id, device_id) = (sync.asking.user_id, sync.asking.device_id);
    Reader::new(sync.engine, room_id, user_id, device_id, Some(row)).await
}

/// Whether the client has the room as a joined one already.
pub(super) async fn was_joined(
    sync: &Sync<'_>,
    reader: &Reader,
    row: &MembershipRow,
) -> Result<bool, Internal> {
    let Some(since) = sync.moment.since else { return Ok(false) };
    if sync.moment.completed.contains(&row.room_id) {
        return Ok(false);
    }
    if row.pos <= since {
        return Ok(row.membership == "join");
    }
    let Some(root) = sync.moment.roots.get(&row.room_id) else { return Ok(false) };
    let member = reader.member(*root, sync.asking.user_id).await?;
    let membership = visibility::membership_of(member.as_ref().map(|event| &*event.pdu));
    Ok(membership == MembershipState::Join)
}

fn count(sync: &Sync<'_>, unread: Unread, joined: &mut JoinedRoom) {
    let counts = |numbers: Numbers| Counts {
        highlight_count: numbers.highlight.max(0),
        notification_count: numbers.notify.max(0),
    };
    if sync.request.filter.room.timeline.unread_thread_notifications {
        joined.unread_notifications = counts(unread.main);
        let threads = unread.threads.into_iter();
        joined.unread_thread_notifications =
            threads.map(|(root, count)| (root, counts(count))).collect();
    } else {
        joined.unread_notifications = counts(unread.total());
    }
}

//! Rooms that the user is not joined to: invites and knocks, and rooms that they left.

use ruma::OwnedRoomId;
use starling_storage::{memberships::MembershipRow, state::roots_at};

use super::{
    Sliding,
    answer::{Inside, Room, StateItem},
    connection::{RoomState, Sent},
    room::{self, Told},
};
use crate::{
    Engine, Internal,
    events::client,
    reading::{access::Asking, reader::Reader},
    state::EMPTY_ROOT,
    sync::streams::{invited::stripped_state, left::leave_event, timeline::Stretch},
};

/// An invite or a knock, if it is new to the client.
pub(super) async fn at_the_door(
    sliding: &mut Sliding<'_>,
    told: &mut Told<'_>,
) -> Result<Option<Room>, Internal> {
    let row = &told.room.row;
    if told.until.is_some_and(|until| row.pos <= until) {
        return Ok(None);
    }
    let stripped = stripped_state(sliding.engine, sliding.asking, row).await?;
    let is_dm = sliding.moment.direct.contains(&row.room_id);
    let RoomState { account_data, receipts, .. } = told.state;
    let events = Sent::ALL;
    told.state = RoomState { events, account_data, receipts, is_dm, ..RoomState::default() };
    let mut room = sliding.room(told.room, told.shown);
    (room.initial, room.is_dm, room.stripped_state) = (true, Some(is_dm), Some(stripped));
    Ok(Some(room))
}

/// A room that the user left, was removed from, or whose invite or knock ended; once, up to there.
pub(super) async fn left(
    sliding: &mut Sliding<'_>,
    reader: &mut Reader,
    told: &mut Told<'_>,
) -> Result<Option<Room>, Internal> {
    let row = told.room.row.clone();
    if told.until.is_some_and(|until| row.pos <= until) {
        return Ok(None);
    }
    let left_at = reader.joined_until();
    match left_at {
        // What happened after they had left is not theirs to see.
        Some(left_at) if told.until.is_none_or(|until| until < left_at) => {
            let mut conn = sliding.engine.storage.read().await?;
            let roots = roots_at(&mut conn, std::slice::from_ref(&row.room_id), left_at).await?;
            drop(conn);
            told.end = (left_at, roots.first().map_or(EMPTY_ROOT, |(_, root)| *root));
            return room::tell(sliding, reader, told, None).await;
        }
        // Who never was inside and was not shown the room learns nothing of it.
        None if !told.state.events.is_any() => return Ok(None),
        _ => {}
    }
    told.state.events = Sent::ALL;
    let mut room = ended(sliding, reader, told).await?;
    if left_at.is_some() {
        (room.initial, room.stripped_state) = (false, None);
    }
    Ok(Some(room))
}

/// The event by which an invite or a knock ended is all that is shown.
async fn ended(
    sliding: &Sliding<'_>,
    reader: &mut Reader,
    told: &Told<'_>,
) -> Result<Room, Internal> {
    let seen = leave_event(reader, &told.room.row).await?;
    let mut room = sliding.room(told.room, told.shown);
    room.initial = true;
    let Some(seen) = seen else { return Ok(room) };
    room.stripped_state = Some(vec![client::to_stripped(&seen.event.pdu)?]);
    let state = reader.show_state(std::slice::from_ref(&seen.event), &sliding.form).await?;
    let stretch = Stretch::of(vec![seen]);
    room.inside = Some(Inside {
        required_state: state.into_iter().map(StateItem::Event).collect(),
        timeline: reader.show(&stretch.events, &sliding.form).await?,
        ..Inside::default()
    });
    Ok(room)
}

/// Finds out of some memberships whether they ended a join.
pub(super) async fn resolve(
    engine: &Engine,
    asking: Asking<'_>,
    rows: &[MembershipRow],
) -> Result<(), Internal> {
    for row in rows {
        let room_id = OwnedRoomId::try_from(&*row.room_id)?;
        let reader = Reader::new(engine, &room_id, asking.user_id, None, Some(row)).await?;
        let ended_join = reader.is_some_and(|reader| reader.joined_until().is_some());
        engine.sliding.ended_joins.insert(row.event_id.clone(), ended_join);
    }
    Ok(())
}

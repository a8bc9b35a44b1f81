//! The event that is closest to a moment.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId, api::Direction};
use serde::{Deserialize, Serialize};
use starling_storage::{
    events::EventRow,
    rooms,
    timeline::{self, Entry, by_time},
};

use super::{
    access::{Asking, ReadError},
    reader::Reader,
};
use crate::{
    Engine, Internal,
    events::{Pdu, StoredEvent, store},
    rooms::backfill,
};

/// How many events are read at a time.
const CHUNK: i64 = 20;

/// How many events are looked at to find one that may be seen.
const MAX_LOOKED_AT: i64 = 400;

/// An event and its time, as they are answered, to clients and to servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The event.
    pub event_id: OwnedEventId,
    /// When its origin says that it was made, in milliseconds.
    pub origin_server_ts: i64,
}

impl Moment {
    /// The moment of an event.
    #[must_use]
    pub fn of(pdu: &Pdu) -> Self {
        let origin_server_ts = pdu.origin_server_ts.get().into();
        Self { event_id: pdu.event_id.clone(), origin_server_ts }
    }

    /// Whether this is closer to a time than another, in the direction that was asked for.
    #[must_use]
    pub fn is_closer(&self, ts: i64, direction: Direction, than: Option<&Self>) -> bool {
        let at = self.origin_server_ts;
        match direction {
            Direction::Forward => ts <= at && than.is_none_or(|it| at < it.origin_server_ts),
            Direction::Backward => at <= ts && than.is_none_or(|it| it.origin_server_ts < at),
        }
    }
}

/// Finds the event of a room that is closest to a time and that the user may see; other servers are
/// asked where events are missing here.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] when there is none.
pub async fn closest(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    ts: i64,
    direction: Direction,
) -> Result<Moment, ReadError> {
    closest_for(asking.member(engine, room_id).await?, ts, direction).await
}

/// The same for a reader.
///
/// # Errors
///
/// [`ReadError::NoSuchEvent`] when there is none.
pub async fn closest_for(
    mut reader: Reader,
    ts: i64,
    direction: Direction,
) -> Result<Moment, ReadError> {
    let (engine, room_id) = (&reader.engine.clone(), &reader.room_id.clone());
    let mut found = visible(&mut reader, ts, direction).await?;
    if is_at_gap(engine, room_id, ts, direction, found.as_deref()).await? {
        let known = found.as_deref().map(|event| Moment::of(&event.pdu));
        if backfill::closest(engine, room_id, ts, direction, known.as_ref()).await? {
            found = visible(&mut reader, ts, direction).await?;
        }
    }
    found.map(|event| Moment::of(&event.pdu)).ok_or(ReadError::NoSuchEvent)
}

async fn visible(
    reader: &mut Reader,
    ts: i64,
    direction: Direction,
) -> Result<Option<Arc<StoredEvent>>, Internal> {
    let (engine, room_id) = (reader.engine.clone(), reader.room_id.clone());
    let mut walk = Walk::new(&engine, &room_id, ts, direction);
    while let Some((row, entry)) = walk.next().await? {
        let event = store::remember(&engine, row, reader.rules())?;
        if reader.sees(&event, entry.pos).await?.is_some() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// Whether events may be missing here that are closer than the one found: there is none, or it or
/// its neighbour on the other side of the moment follows events that are not known.
async fn is_at_gap(
    engine: &Engine,
    room_id: &RoomId,
    ts: i64,
    direction: Direction,
    found: Option<&StoredEvent>,
) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let gaps = rooms::backward_extremities(&mut conn, room_id.as_str(), 1).await?;
    let Some(found) = found.filter(|_| !gaps.is_empty()) else { return Ok(!gaps.is_empty()) };
    let mut prev: Vec<String> = found.pdu.prev_events.iter().map(ToString::to_string).collect();
    if direction == Direction::Backward {
        let forward = timeline::Direction::Forward;
        let after = by_time::closest(&mut conn, room_id.as_str(), ts, forward, 0, 1).await?;
        drop(conn);
        if let Some((row, _)) = after.into_iter().next() {
            let id = OwnedEventId::try_from(row.event_id)?;
            let event = store::get(engine, room_id, &id).await?;
            let event = event.iter().flat_map(|event| &event.pdu.prev_events);
            prev.extend(event.map(ToString::to_string));
        }
        conn = engine.storage.read().await?;
    }
    Ok(!rooms::are_backward_extremities(&mut conn, room_id.as_str(), &prev).await?.is_empty())
}

/// The events of a room from a moment on, the closest first.
pub(crate) struct Walk<'a> {
    engine: &'a Engine,
    room_id: &'a RoomId,
    ts: i64,
    direction: timeline::Direction,
    read: i64,
    ahead: std::vec::IntoIter<(EventRow, Entry)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        room_id: &'a RoomId,
        ts: i64,
        direction: Direction,
    ) -> Self {
        let direction = match direction {
            Direction::Forward => timeline::Direction::Forward,
            Direction::Backward => timeline::Direction::Backward,
        };
        Self { engine, room_id, ts, direction, read: 0, ahead: vec![].into_iter() }
    }

    /// The next event; `None` when there is none, or enough were looked at.
    pub(crate) async fn next(&mut self) -> Result<Option<(EventRow, Entry)>, Internal> {
        if let Some(next) = self.ahead.next() {
            return Ok(Some(next));
        }
        if self.read >= MAX_LOOKED_AT {
            return Ok(None);
        }
        let mut conn = self.engine.storage.read().await?;
        let Self { room_id, ts, direction, read, .. } = *self;
        let rows = by_time::closest(&mut conn, room_id.as_str(), ts, direction, read, CHUNK);
        self.ahead = rows.await?.into_iter();
        self.read += CHUNK;
        Ok(self.ahead.next())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reading::stage::{ALICE, BOB, asking, on_stage, user};

    #[tokio::test]
    async fn the_closest_event_that_may_be_seen_is_found() {
        on_stage(async |mut stage| {
            let joined = json!({ "history_visibility": "joined" });
            let closed = stage.set("m.room.history_visibility", joined).await;
            let hidden = stage.say(ALICE, "before").await;
            let join = stage.member(BOB, BOB, "join").await;
            let last = stage.say(ALICE, "after").await;
            let at = |pdu: &Pdu| i64::from(pdu.origin_server_ts.get());
            let room_id = stage.room.room_id.clone();
            let find = async |who: &str, ts: i64, direction: Direction| match closest(
                &stage.engine,
                asking(&user(who)),
                &room_id,
                ts,
                direction,
            )
            .await
            {
                Ok(moment) => Some(moment),
                Err(ReadError::NoSuchEvent) => None,
                Err(error) => panic!("{error}"),
            };
            use Direction::{Backward, Forward};
            let (hidden_at, last_at) = (at(&hidden), at(&last));
            assert!(hidden_at < at(&join) && at(&join) < last_at);
            assert_eq!(find(ALICE, hidden_at, Forward).await, Some(Moment::of(&hidden)));
            assert_eq!(find(ALICE, hidden_at, Backward).await, Some(Moment::of(&hidden)));
            assert_eq!(find(BOB, hidden_at, Forward).await, Some(Moment::of(&join)));
            assert_eq!(find(BOB, hidden_at, Backward).await, Some(Moment::of(&closed)));
            assert_eq!(find(BOB, i64::MAX, Backward).await, Some(Moment::of(&last)));
            assert_eq!(find(ALICE, last_at + 1, Forward).await, None);
            let stranger = user("@carol:a.org");
            let refused = closest(&stage.engine, asking(&stranger), &room_id, 0, Forward).await;
            assert!(matches!(refused, Err(ReadError::Forbidden)), "{refused:?}");
        })
        .await;
    }
}

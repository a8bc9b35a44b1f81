//! Following one room, also from outside: the events of a room as they come.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-previews>

use std::time::Duration;

use ruma::RoomId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    access::{Asking, ReadError, ignored_users},
    filter::EventFilter,
    scan::{Path, Wanted},
    show::Form,
    token::PageToken,
};
use crate::{Engine, Internal, notifier};

/// How many events one answer has at most: the newest.
const LARGEST: usize = 1_000;

/// How long somebody waits at most.
pub const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A stretch of events, as it is answered.
#[derive(Debug, Default, Serialize)]
pub struct Chunk {
    /// The events, the oldest first.
    pub chunk: Vec<Box<RawValue>>,
    /// Where it begins.
    pub start: String,
    /// Where it ends, and the next begins.
    pub end: String,
}

/// What happens in a room after a position, or from now on; waits for it if nothing has.
///
/// # Errors
///
/// [`ReadError::Forbidden`] for a room that the user may not read.
pub async fn follow(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    from: Option<i64>,
    timeout: Duration,
) -> Result<Chunk, ReadError> {
    let until = tokio::time::Instant::now() + timeout.min(LONGEST_WAIT);
    let head = engine.storage.feed().head();
    let from = from.map_or(head, |from| from.min(head));
    let mut seen = from;
    loop {
        let registration = engine.notifier.register(asking.user_id);
        let head = engine.storage.feed().head();
        let chunk = between(engine, asking, room_id, seen, head).await?;
        let token = |pos: i64| PageToken::Position(pos).to_string();
        let answer = Chunk { chunk, start: token(from), end: token(head) };
        if !answer.chunk.is_empty() || engine.shutdown.is_cancelled() {
            return Ok(answer);
        }
        registration.begin(vec![room_id.to_string()], head);
        let _waiting = engine.measures.sync.waiting.enter();
        tokio::select! {
            () = registration.woken() => {}
            () = notifier::until(until) => return Ok(answer),
            () = engine.shutdown.cancelled() => return Ok(answer),
        }
        // There was nothing up to here.
        seen = head;
    }
}

async fn between(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    after: i64,
    until: i64,
) -> Result<Vec<Box<RawValue>>, ReadError> {
    // Whether the room is open may have changed while somebody waited.
    let mut reader = asking.member(engine, room_id).await?;
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let ignored = ignored_users(&mut conn, asking.user_id).await?;
    drop(conn);
    let filter = &EventFilter::default();
    let wanted = Wanted { filter, ignored: &ignored, limit: LARGEST };
    let mut found = reader.scan(Path::Newest { after, until }, wanted).await?;
    found.events.reverse();
    Ok(reader.show_bundled(&found.events, &Form::whole(), &ignored).await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reading::stage::{ALICE, BOB, asking, on_stage, user};

    #[tokio::test]
    async fn a_room_that_is_open_is_followed_from_outside() {
        on_stage(async |mut stage| {
            let (bob, room_id) = (user(BOB), stage.room.room_id.clone());
            let engine = stage.engine.clone();
            let now = Duration::ZERO;
            let refused = follow(&engine, asking(&bob), &room_id, None, now).await;
            assert!(matches!(refused, Err(ReadError::Forbidden)));
            let content = json!({ "history_visibility": "world_readable" });
            stage.set("m.room.history_visibility", content).await;
            let nothing = follow(&engine, asking(&bob), &room_id, None, now).await.unwrap();
            assert!(nothing.chunk.is_empty());
            let position = |token: &str| match PageToken::parse(token).unwrap() {
                PageToken::Position(pos) => Some(pos),
                PageToken::Place { .. } => None,
            };
            stage.say(ALICE, "one").await;
            stage.say(ALICE, "two").await;
            let from = position(&nothing.end);
            let found = follow(&engine, asking(&bob), &room_id, from, now).await.unwrap();
            let bodies: Vec<_> =
                found.chunk.iter().map(|event| event.get().contains("one")).collect();
            assert_eq!(bodies, [true, false], "the oldest first");
            // Who waits is woken.
            let from = position(&found.end);
            let long = Duration::from_secs(60);
            let (said, found) = tokio::join!(
                stage.say(ALICE, "three"),
                follow(&engine, asking(&bob), &room_id, from, long)
            );
            assert!(found.unwrap().chunk[0].get().contains(said.event_id.as_str()));
        })
        .await;
    }
}

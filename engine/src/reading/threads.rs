//! The threads of a room.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room>

use std::{collections::HashSet, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, RoomId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    relations::{self, ThreadRow},
    timeline::Direction,
};

use super::{
    access::{Asking, ReadError, ignored_users},
    reader::Reader,
    show::{Form, Seen},
    token::{Bound, PageToken},
};
use crate::{
    Engine, Internal,
    events::{StoredEvent, redact, store},
    rooms::append::relations::of,
};

/// How many threads a page has when the client does not say.
pub const DEFAULT_LIMIT: u64 = 20;

/// How many threads a page has at most.
pub const LARGEST_LIMIT: u64 = 100;

/// How often one request reads on because the user may not see what was found.
const MAX_ROUNDS: usize = 10;

/// Which threads are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadsRequest {
    /// Only those in which the user takes part.
    pub participated: bool,
    /// Where the page begins; `None`: with the newest.
    pub from: Option<PageToken>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// A page of threads, as it is answered.
#[derive(Debug, Serialize)]
pub struct Threads {
    /// The events with which the threads begin.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the next page begins; `None`: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
}

/// Lists threads, those with the newest events first.
///
/// # Errors
///
/// [`ReadError`].
pub async fn page(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    request: ThreadsRequest,
) -> Result<Threads, ReadError> {
    let mut reader = asking.member(engine, room_id).await?;
    let ignored = ignored_users(&mut engine.storage.read().await?, asking.user_id).await?;
    let (roots, next) = roots(&mut reader, &ignored, request).await?;
    let chunk = reader.show_bundled(&roots, &Form::whole(), &ignored).await?;
    Ok(Threads { chunk, next_batch: next.map(|next| next.to_string()) })
}

/// The beginnings of threads that the user may see, and where the next page begins.
async fn roots(
    reader: &mut Reader,
    ignored: &HashSet<OwnedUserId>,
    request: ThreadsRequest,
) -> Result<(Vec<Seen>, Option<PageToken>), Internal> {
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LARGEST_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let from = request.from.unwrap_or(PageToken::Position(i64::MAX)).range(Direction::Backward);
    let until = reader.joined_until().unwrap_or(i64::MAX).min(from.until);
    let ignored_ids: Vec<String> = ignored.iter().map(ToString::to_string).collect();
    let (room_id, user_id) = (reader.room_id.clone(), reader.user_id.clone());
    let (mut roots, mut before) = (vec![], from.from);
    for _ in 0..MAX_ROUNDS {
        // One more tells whether there are more.
        let wanted = relations::Threads {
            room_id: room_id.as_str(),
            user_id: user_id.as_str(),
            participated: request.participated,
            ignored: &ignored_ids,
            until,
            before,
            limit: i64::try_from(limit + 1).unwrap_or(i64::MAX),
        };
        let mut conn = reader.engine.storage.read().await?;
        let rows = relations::threads(&mut conn, wanted).await?;
        drop(conn);
        let more = rows.len() > limit;
        for row in rows.into_iter().take(limit) {
            if roots.len() == limit {
                return Ok((roots, Some(after(before))));
            }
            before = row.latest;
            roots.extend(root(reader, row, ignored).await?);
        }
        if !more {
            return Ok((roots, None));
        }
        if roots.len() == limit {
            break;
        }
    }
    Ok((roots, Some(after(before))))
}

/// Where a page ends whose last thread has its newest event there.
fn after((depth, pos): (i64, i64)) -> PageToken {
    PageToken::Place { depth, pos: pos.saturating_sub(1), bound: Bound::None }
}

/// The event with which a thread begins, if it does and the user may see it. Of somebody who is
/// ignored nothing but the fact is shown.
async fn root(
    reader: &mut Reader,
    row: ThreadRow,
    ignored: &HashSet<OwnedUserId>,
) -> Result<Option<Seen>, Internal> {
    let event_id = OwnedEventId::try_from(row.root_id)?;
    let event = store::get(&reader.engine, &reader.room_id, &event_id).await?;
    let Some(event) = event.filter(|event| of(&event.pdu).is_none()) else { return Ok(None) };
    let Some(membership) = reader.sees(&event, row.root_pos).await? else { return Ok(None) };
    let event = match ignored.contains(&event.pdu.sender) {
        true => emptied(reader, &event)?,
        false => event,
    };
    Ok(Some(Seen { event, pos: row.root_pos, membership }))
}

fn emptied(reader: &Reader, event: &StoredEvent) -> Result<Arc<StoredEvent>, Internal> {
    let pdu = redact::redact(&event.pdu, reader.rules());
    let pdu = Arc::new(pdu.map_err(|error| Internal::Damaged(error.to_string()))?);
    Ok(Arc::new(StoredEvent { pdu, ..event.clone() }))
}

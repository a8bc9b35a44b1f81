//! Pages of a room's history.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use std::collections::HashSet;

use ruma::{OwnedUserId, RoomId, api::Direction};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    rooms,
    timeline::{self, Range},
};

use super::{
    access::{Asking, ReadError, ignored_users},
    filter::EventFilter,
    reader::Reader,
    scan::{Found, Path, Wanted},
    show::Form,
    token::PageToken,
};
use crate::{Engine, Internal, rooms::backfill};

/// How many events a page has when the client does not say.
pub const DEFAULT_LIMIT: usize = 10;

/// How many events a page has at most.
pub const LARGEST_LIMIT: usize = 1000;

/// How often one page asks other servers for history.
const MAX_BACKFILLS: usize = 3;

/// How many events other servers are asked for at a time.
const BACKFILL: u32 = 100;

/// How many places are looked at where history is missing.
const EDGES: i64 = 50;

/// Which page is wanted.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Into the past or the future.
    pub direction: Direction,
    /// Where it begins; `None`: at the newest or oldest event.
    pub from: Option<PageToken>,
    /// Where it ends at the latest.
    pub to: Option<PageToken>,
    /// How many events at most.
    pub limit: Option<u64>,
    /// Which events.
    pub filter: EventFilter,
}

/// A page, as it is answered.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The events.
    pub chunk: Vec<Box<RawValue>>,
    /// Where the page begins.
    pub start: String,
    /// Where it ends; `None`: there is nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Member events that are needed to show the events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Box<RawValue>>,
}

/// Reads a page.
///
/// # Errors
///
/// [`ReadError`].
pub async fn page(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    request: PageRequest,
) -> Result<Page, ReadError> {
    let reader = asking.member(engine, room_id).await?;
    let ignored = ignored_users(&mut engine.storage.read().await?, asking.user_id).await?;
    read(reader, &ignored, request).await
}

/// Reads a page for a reader, without what the users say whom they ignore.
///
/// # Errors
///
/// [`ReadError`].
pub async fn read(
    mut reader: Reader,
    ignored: &HashSet<OwnedUserId>,
    request: PageRequest,
) -> Result<Page, ReadError> {
    let (engine, room_id) = (&reader.engine.clone(), &reader.room_id.clone());
    let from = request.from.unwrap_or_else(|| beginning(&reader, request.direction));
    let range = range(from, request.to, request.direction);
    let filter = &request.filter;
    let limit = request.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.unwrap_or_else(|| filter.limit(DEFAULT_LIMIT, LARGEST_LIMIT));
    let wanted = Wanted { filter, ignored, limit: limit.clamp(1, LARGEST_LIMIT) };
    let path = Path::History { range, to: request.to };
    let mut found = reader.scan(path, wanted).await?;
    let mut edge = is_at_edge(&reader, range, &found).await?;
    for _ in 0..MAX_BACKFILLS {
        if !edge || backfill::backfill(engine, room_id, BACKFILL).await? == 0 {
            break;
        }
        found = reader.scan(path, wanted).await?;
        edge = is_at_edge(&reader, range, &found).await?;
    }
    let form = Form::whole();
    let members =
        if filter.lazy_load_members { reader.members_for(&found.events).await? } else { vec![] };
    Ok(Page {
        chunk: reader.show_bundled(&found.events, &form, ignored).await?,
        start: from.to_string(),
        end: end(range, &found, edge).map(|end| end.to_string()),
        state: reader.show_state(&members, &form).await?,
    })
}

/// Where a page begins that is not said to begin anywhere: who has left begins at the leave.
pub(super) fn beginning(reader: &Reader, direction: Direction) -> PageToken {
    match direction {
        Direction::Forward => PageToken::Position(i64::MIN),
        Direction::Backward => {
            let head = reader.engine.storage.feed().head();
            PageToken::Position(reader.joined_until().map_or(head, |until| until.min(head)))
        }
    }
}

/// The part of the history that a page may show.
pub(super) fn range(from: PageToken, to: Option<PageToken>, direction: Direction) -> Range {
    let mut range = from.range(match direction {
        Direction::Backward => timeline::Direction::Backward,
        Direction::Forward => timeline::Direction::Forward,
    });
    // A place is looked for on the way; a position is a limit from the start.
    match (to, direction) {
        (Some(PageToken::Position(pos)), Direction::Backward) => range.after = range.after.max(pos),
        (Some(PageToken::Position(pos)), Direction::Forward) => range.until = range.until.min(pos),
        _ => {}
    }
    range
}

/// Whether other servers have history that belongs into a page.
async fn is_at_edge(reader: &Reader, range: Range, found: &Found) -> Result<bool, Internal> {
    if range.direction == timeline::Direction::Forward {
        return Ok(false);
    }
    let mut conn = reader.engine.storage.read().await?;
    let edges = rooms::backward_extremities(&mut conn, reader.room_id.as_str(), EDGES).await?;
    let lowest = found.last.filter(|_| !found.complete).map_or(i64::MIN, |(depth, _)| depth);
    Ok(edges.iter().any(|(_, depth)| (lowest..=range.from.0).contains(depth)))
}

/// The end of a page. Where history ends for want of an answer of other servers (`edge`), the client
/// can try again, but not for ever.
pub(super) fn end(range: Range, found: &Found, edge: bool) -> Option<PageToken> {
    let more = !found.complete || (edge && !found.events.is_empty());
    let last = found.last.filter(|_| more)?;
    Some(PageToken::end_of(range, last))
}

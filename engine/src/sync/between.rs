//! What is new in a room between two positions, read once for all who follow the room from the one to the
//! other: everybody who waits there is woken by the same message.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use starling_storage::{
    epochs,
    receipts::{self, ReceiptRow},
    rooms::{self, RoomRow},
    state,
    timeline::{self, Entry},
};
use tokio::sync::OnceCell;

use crate::{Engine, Internal};

/// How many stretches are remembered, and how long.
const REMEMBERED: u64 = 2_000;
const FOR: Duration = Duration::from_secs(10);

/// In a longer one each looks for what it shows.
const MOST_ENTRIES: i64 = 20;

/// A room from a position to another, in an epoch.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) room_id: String,
    pub(super) epoch: i64,
    pub(super) after: i64,
    pub(super) until: i64,
}

/// A room whose state is the same at both positions.
#[derive(Debug)]
pub(super) struct Between {
    /// The room, with the state that it had at both.
    pub(super) row: RoomRow,
    /// The receipts of all users that are new.
    pub(super) receipts: Vec<ReceiptRow>,
    /// The places of all events in between, the newest first, where these are few and nothing is missing here before
    /// any event of the room.
    pub(super) entries: Option<Vec<Entry>>,
}

/// Those that were read last.
#[derive(Clone, Debug)]
pub(crate) struct Stretches(Cache<Span, Arc<OnceCell<Option<Arc<Between>>>>>);

impl Stretches {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).time_to_live(FOR).build())
    }
}

/// What is new; nothing where the state of the room changed, or the positions no longer count.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn read(engine: &Engine, span: Span) -> Result<Option<Arc<Between>>, Internal> {
    let stretch = engine.stretches.0.get_with(span.clone(), Arc::default);
    Ok(stretch.get_or_try_init(|| look_up(engine, &span)).await?.clone())
}

async fn look_up(engine: &Engine, span: &Span) -> Result<Option<Arc<Between>>, Internal> {
    let Span { room_id, epoch, after, until } = span;
    let mut conn = engine.storage.snapshot().await?;
    if epochs::all(&mut conn).await?.last().map_or(0, |last| last.epoch) != *epoch {
        return Ok(None);
    }
    let room = std::slice::from_ref(room_id);
    let before = state::roots_at(&mut conn, room, *after).await?;
    let now = state::roots_at(&mut conn, room, *until).await?;
    let Some((_, root)) = now.first().filter(|_| before == now) else { return Ok(None) };
    let Some(row) = rooms::get(&mut conn, room_id).await? else { return Ok(None) };
    let receipts = receipts::between(&mut conn, room, *after, *until).await?;
    let entries = timeline::newest(&mut conn, room_id, *after, *until, MOST_ENTRIES).await?;
    let is_whole = i64::try_from(entries.len()).is_ok_and(|count| count < MOST_ENTRIES)
        && rooms::backward_extremities(&mut conn, room_id, 1).await?.is_empty();
    Ok(Some(Arc::new(Between {
        row: RoomRow { current_state: *root, ..row },
        receipts,
        entries: is_whole.then_some(entries),
    })))
}

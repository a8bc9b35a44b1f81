//! What a user was notified of, page by page, the newest first.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>

use ruma::push::Action;
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::unread::{self, Notified};

use super::{
    access::Asking,
    notified::{Judged, Places},
    show::{Form, Seen},
};
use crate::{Engine, Internal};

/// How many are given when the client does not say.
const DEFAULT_LIMIT: u64 = 20;

/// How many are given at most.
const LARGEST_LIMIT: u64 = 100;

/// How often the database is asked for one page, when most of what it finds is not for the user.
const ROUNDS: usize = 5;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageRequest {
    /// Only what stands before this position.
    pub before: Option<i64>,
    /// How many.
    pub limit: Option<u64>,
    /// Only what is of special interest.
    pub highlights_only: bool,
}

/// A page.
#[derive(Debug, Default, Serialize)]
pub struct Page {
    /// The notifications.
    pub notifications: Vec<Notification>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// An event of which the user was notified.
#[derive(Debug, Serialize)]
pub struct Notification {
    /// What the rules said to do.
    pub actions: Vec<Action>,
    /// The event.
    pub event: Box<RawValue>,
    /// Whether the user has read it.
    pub read: bool,
    /// The room.
    pub room_id: String,
    /// When, in milliseconds since the epoch.
    pub ts: i64,
}

/// A page of what a user was notified of in the rooms in which they are.
///
/// # Errors
///
/// When the database fails.
pub async fn page(
    engine: &Engine,
    asking: Asking<'_>,
    request: PageRequest,
) -> Result<Page, Internal> {
    let limit = request.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LARGEST_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(1);
    let mut places = Places::new(engine, asking).await?;
    let mut page = Page::default();
    let mut before = request.before.unwrap_or(i64::MAX);
    for _ in 0..ROUNDS {
        let count = i64::try_from(limit - page.notifications.len()).unwrap_or(1);
        let mut conn = engine.storage.read().await?;
        let (user_id, only) = (asking.user_id.as_str(), request.highlights_only);
        let found = unread::notified(&mut conn, user_id, before, only, count).await?;
        drop(conn);
        let Some(last) = found.last() else { return Ok(page) };
        before = last.pos;
        for notified in found {
            page.notifications.extend(show(&mut places, notified).await?);
        }
        if page.notifications.len() >= limit {
            break;
        }
    }
    page.next_token = Some(before.to_string());
    Ok(page)
}

/// A notification as the user sees it; `None` when the event was none for them.
async fn show(
    places: &mut Places<'_>,
    notified: Notified,
) -> Result<Option<Notification>, Internal> {
    let Some(Judged { event, membership, actions, read, place }) = places.judge(&notified).await?
    else {
        return Ok(None);
    };
    let ts = event.received_ts;
    let seen = [Seen { event, pos: notified.pos, membership }];
    let event = place.reader.show(&seen, &Form::bare()).await?.pop();
    let room_id = notified.room_id;
    Ok(event.map(|event| Notification { actions, event, read, room_id, ts }))
}

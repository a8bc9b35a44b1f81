//! What a pusher is to be told next.

use ruma::UserId;
use starling_storage::{
    memberships::{self, MembershipRow},
    unread::{self, Notified, Span},
};

use super::due::Due;
use crate::{Engine, Internal, rooms::membership::permission};

/// How many events are told to somebody who fell behind. Of more, only the newest are: a telephone that
/// comes back after a week needs no thousand alerts, and the number on its icon counts all of them.
const MOST: i64 = 200;

/// Something of which a user is to be told.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// An event of a room that the user is in.
    Event(Notified),
    /// An invite.
    Invite(Box<MembershipRow>),
}

impl Item {
    /// Where it happened.
    pub(super) fn pos(&self) -> i64 {
        match self {
            Self::Event(notified) => notified.pos,
            Self::Invite(row) => row.pos,
        }
    }
}

/// What happened after a position that may be to be told, oldest first.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn items(
    engine: &Engine,
    user_id: &UserId,
    after: i64,
    due: &Due,
) -> Result<Vec<Item>, Internal> {
    let _place = engine.pushers.look().await;
    let rooms: Option<Vec<String>> =
        due.rooms.as_ref().map(|rooms| rooms.iter().cloned().collect());
    let mut items = Vec::new();
    let mut conn = engine.storage.read().await?;
    if rooms.as_ref().is_none_or(|rooms| !rooms.is_empty()) {
        let span = Span { after, until: due.until, rooms: rooms.as_deref() };
        let events = unread::pending(&mut conn, user_id.as_str(), span, MOST).await?;
        items.extend(events.into_iter().map(Item::Event));
    }
    if due.invites {
        for row in memberships::invites(&mut conn, user_id.as_str(), after, due.until).await? {
            // Of a room that this server is in, the invite stands in the timeline too.
            let is_it =
                |item: &Item| matches!(item, Item::Event(it) if it.event_id == row.event_id);
            items.retain(|item| !is_it(item));
            let sender = <&UserId>::try_from(row.sender.as_str())?;
            if !permission::hides(&mut conn, user_id, sender).await? {
                items.push(Item::Invite(Box::new(row)));
            }
        }
        items.sort_by_key(Item::pos);
    }
    Ok(items)
}

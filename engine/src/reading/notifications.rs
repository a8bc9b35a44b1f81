//! What a user was notified of, page by page, the newest first.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>

use std::collections::HashMap;

use ruma::{
    OwnedEventId, OwnedRoomId,
    events::{TimelineEventType, room::member::MembershipState},
    push::{Action, HighlightTweakValue, Ruleset, Tweak},
};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    memberships, rooms,
    unread::{self, Mark, Notified},
};

use super::{
    access::Asking,
    reader::Reader,
    show::{Form, Seen},
    subscriptions,
};
use crate::{
    Engine, Internal,
    events::store,
    push::{
        evaluate::{Listener, Outcome, Subject},
        rules,
    },
};

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
    let mut pager = Pager::new(engine, asking).await?;
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
            page.notifications.extend(pager.show(notified).await?);
        }
        if page.notifications.len() >= limit {
            break;
        }
    }
    page.next_token = Some(before.to_string());
    Ok(page)
}

/// What is looked up once for all notifications of a page.
struct Pager<'a> {
    engine: &'a Engine,
    asking: Asking<'a>,
    rules: Ruleset,
    rooms: HashMap<String, Option<Place>>,
}

/// A room as the user reads it.
struct Place {
    reader: Reader,
    marks: Vec<Mark>,
    display_name: String,
    joined_members: i64,
}

impl<'a> Pager<'a> {
    async fn new(engine: &'a Engine, asking: Asking<'a>) -> Result<Self, Internal> {
        let rules = rules::get(engine, asking.user_id).await?;
        Ok(Self { engine, asking, rules, rooms: HashMap::new() })
    }

    async fn place(&self, room_id: &str) -> Result<Option<Place>, Internal> {
        let Asking { user_id, device_id } = self.asking;
        let id = OwnedRoomId::try_from(room_id)?;
        let mut conn = self.engine.storage.read().await?;
        let row = memberships::get(&mut conn, user_id.as_str(), room_id).await?;
        let room = rooms::get(&mut conn, room_id).await?;
        let marks = unread::marks(&mut conn, user_id.as_str(), room_id).await?;
        drop(conn);
        let reader = Reader::new(self.engine, &id, user_id, device_id, row.as_ref()).await?;
        Ok(reader.map(|reader| Place {
            reader,
            marks,
            display_name: row.and_then(|row| row.display_name).unwrap_or_default(),
            joined_members: room.map_or(0, |room| room.joined_members),
        }))
    }

    /// A notification as the user sees it; `None` when the event was none for them.
    async fn show(&mut self, notified: Notified) -> Result<Option<Notification>, Internal> {
        let room_id = &notified.room_id;
        if !self.rooms.contains_key(room_id) {
            let place = self.place(room_id).await?;
            self.rooms.insert(room_id.clone(), place);
        }
        let Some(Some(place)) = self.rooms.get_mut(room_id) else { return Ok(None) };
        let event_id = OwnedEventId::try_from(notified.event_id.as_str())?;
        let id = place.reader.room_id.clone();
        let Some(event) = store::get(self.engine, &id, &event_id).await? else { return Ok(None) };
        let user_id = self.asking.user_id;
        let membership = place.reader.sees(&event, notified.pos).await?;
        let Some(membership) = membership.filter(|_| event.pdu.sender != user_id) else {
            return Ok(None);
        };
        let is_about_user = event.pdu.kind == TimelineEventType::RoomMember
            && event.pdu.state_key.as_deref() == Some(user_id.as_str());
        if membership != MembershipState::Join && !is_about_user {
            return Ok(None);
        }
        let follows = subscriptions::follows(self.engine, user_id, &event.pdu).await?;
        let actions = actions(&self.rules, user_id, place, &event.pdu, follows, notified.highlight);
        let has_read = |mark: &Mark| mark.thread.is_empty() || mark.thread == notified.thread;
        let read = place.marks.iter().any(|mark| has_read(mark) && mark.pos >= notified.pos);
        let ts = event.received_ts;
        let seen = [Seen { event, pos: notified.pos, membership }];
        let event = place.reader.show(&seen, &Form::bare()).await?.pop();
        let room_id = notified.room_id;
        Ok(event.map(|event| Notification { actions, event, read, room_id, ts }))
    }
}

/// What the rules say to do. They may have changed since; then what is known of it is given.
fn actions(
    rules: &Ruleset,
    user_id: &ruma::UserId,
    place: &Place,
    pdu: &crate::events::Pdu,
    follows: bool,
    highlight: bool,
) -> Vec<Action> {
    let (user_id, display_name) = (user_id.to_owned(), place.display_name.clone());
    let listener = Listener { user_id, display_name, rules, follows };
    let subject = Subject::new(pdu, place.joined_members, None);
    let actions = subject.map_or(&[][..], |subject| subject.actions(&listener));
    if Outcome::of(actions) == (Outcome { notify: true, highlight }) {
        return actions.to_vec();
    }
    let mut actions = vec![Action::Notify];
    if highlight {
        actions.push(Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes)));
    }
    actions
}

//! What an event that notified a user means to them now: whether they may see it, what their rules say
//! to do, and whether they have read it.

use std::{collections::HashMap, sync::Arc};

use ruma::{
    OwnedEventId, OwnedRoomId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
    push::{Action, HighlightTweakValue, Ruleset, Tweak},
};
use starling_storage::{
    memberships,
    rooms::{self, partial},
    unread::{self, Mark, Notified},
};

use super::{access::Asking, reader::Reader, subscriptions};
use crate::{
    Engine, Internal,
    events::{Pdu, StoredEvent, store},
    push::{
        evaluate::{Listener, Outcome, Subject},
        rules,
    },
};

/// What is looked up once for several events.
pub(crate) struct Places<'a> {
    engine: &'a Engine,
    asking: Asking<'a>,
    rules: Ruleset,
    rooms: HashMap<String, Option<Place>>,
}

/// A room as the user reads it.
pub(crate) struct Place {
    /// The user in the room.
    pub(crate) reader: Reader,
    marks: Vec<Mark>,
    display_name: String,
    joined_members: i64,
}

/// An event that notifies.
pub(crate) struct Judged<'p> {
    /// The event.
    pub(crate) event: Arc<StoredEvent>,
    /// What the user was in the room when it happened.
    pub(crate) membership: MembershipState,
    /// What the rules say to do.
    pub(crate) actions: Vec<Action>,
    /// Whether the user has read it, or had when the room was looked at.
    pub(crate) read: bool,
    /// Where it happened.
    pub(crate) place: &'p Place,
}

impl<'a> Places<'a> {
    /// Nothing is looked up yet but the user's rules.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn new(engine: &'a Engine, asking: Asking<'a>) -> Result<Self, Internal> {
        let rules = rules::get(engine, asking.user_id).await?;
        Ok(Self { engine, asking, rules, rooms: HashMap::new() })
    }

    /// What an event means to the user; `None` when it was none for them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(crate) async fn judge(
        &mut self,
        notified: &Notified,
    ) -> Result<Option<Judged<'_>>, Internal> {
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
        if membership != MembershipState::Join && !is_about(user_id, &event.pdu) {
            return Ok(None);
        }
        let follows = subscriptions::follows(self.engine, user_id, &event.pdu).await?;
        let actions = actions(&self.rules, user_id, place, &event.pdu, follows, notified.highlight);
        let read = is_read(&place.marks, notified);
        Ok(Some(Judged { event, membership, actions, read, place }))
    }

    /// What the user's rules say about an invite.
    pub(crate) fn judge_invite(&self, pdu: &Pdu) -> Vec<Action> {
        let (user_id, display_name) = (self.asking.user_id.to_owned(), String::new());
        let listener = Listener { user_id, display_name, rules: &self.rules, follows: false };
        let subject = Subject::new(pdu, 0, None);
        subject.map_or(vec![], |subject| subject.actions(&listener).to_vec())
    }

    async fn place(&self, room_id: &str) -> Result<Option<Place>, Internal> {
        let Asking { user_id, device_id } = self.asking;
        let id = OwnedRoomId::try_from(room_id)?;
        let mut conn = self.engine.storage.read().await?;
        let row = memberships::get(&mut conn, user_id.as_str(), room_id).await?;
        let mut room = rooms::get(&mut conn, room_id).await?;
        partial::count_unseen(&mut conn, room.as_mut_slice()).await?;
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
}

/// Whether marks say that an event is read.
pub(crate) fn is_read(marks: &[Mark], notified: &Notified) -> bool {
    let has_read = |mark: &Mark| mark.thread.is_empty() || mark.thread == notified.thread;
    marks.iter().any(|mark| has_read(mark) && mark.pos >= notified.pos)
}

/// Whether an event says what a user is in the room.
pub(crate) fn is_about(user_id: &UserId, pdu: &Pdu) -> bool {
    pdu.kind == TimelineEventType::RoomMember && pdu.state_key.as_deref() == Some(user_id.as_str())
}

/// What the rules say to do. They may have changed since; then what is known of it is given.
fn actions(
    rules: &Ruleset,
    user_id: &UserId,
    place: &Place,
    pdu: &Pdu,
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

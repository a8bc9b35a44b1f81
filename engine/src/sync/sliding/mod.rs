//! Sliding sync: what is new in those of a user's rooms that a client looks at.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4186>. Where /sync tells everything since a
//! token, this tells what a [`connection`] was not sent yet of what its windows show. It reads one
//! [`moment`] and waits for news as /sync does, and shows rooms by the same readers.

pub mod answer;

pub mod request;

pub mod required;

pub(super) mod connection;

mod lists;

mod traits;

mod moment;

mod state;

mod room;

mod outside;

mod extensions;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use ruma::OwnedRoomId;
use starling_storage::memberships::MembershipRow;

pub use self::{answer::Answer, connection::Memory, request::Request};
use self::{
    answer::Room,
    connection::{Connection, State},
    lists::{Candidate, Shown},
    moment::Moment,
    room::Told,
};
use super::LONGEST_WAIT;
use crate::{
    Engine, Internal,
    encryption::inbox,
    notifier,
    reading::{access::Asking, reader::Reader, show::Form},
};

/// How often memberships that turn up while it is read are looked into before it goes on without them.
const MOST_ROUNDS: usize = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SlidingError {
    /// The connection is not known (any more), or was never there: it has to begin anew.
    #[error("the connection is not known")]
    UnknownPos,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// An answer that is being put together.
struct Sliding<'a> {
    engine: &'a Engine,
    asking: Asking<'a>,
    request: &'a Request,
    form: Form,
    moment: Moment,
    /// What is sent on the connection, the answer included.
    state: State,
    /// Rooms that were sent before.
    sent_before: HashSet<String>,
    /// The events that are shown of rooms, with their positions.
    timelines: HashMap<String, Vec<(String, i64)>>,
}

/// Answers with what is new, when something is, and at the latest after the time that the client waits.
///
/// # Errors
///
/// See [`SlidingError`].
pub async fn sync(
    engine: &Engine,
    asking: Asking<'_>,
    request: &Request,
) -> Result<Answer, SlidingError> {
    let until = tokio::time::Instant::now() + request.timeout.min(LONGEST_WAIT);
    let connection = Connection::load(engine, asking, &request.conn_id, request.pos.as_ref());
    let connection = connection.await?;
    let had = request.extensions.to_device.and_then(|wanted| wanted.since);
    if let (Some(until), Some(device)) = (had, asking.device_id) {
        acknowledge(engine, asking, device, until).await?;
    }
    loop {
        let registration = engine.notifier.register(asking.user_id);
        let moment = read(engine, asking, request, &connection).await?;
        let (head, joined, token) = (moment.head, moment.joined(), moment.token.clone());
        let (mut answer, state) =
            put_together(engine, asking, request, &connection, moment).await?;
        if request.pos.is_some() && answer.is_empty() && !engine.shutdown.is_cancelled() {
            registration.begin(joined, head);
            let _waiting = engine.measures.sync.waiting.enter();
            tokio::select! {
                () = registration.woken() => continue,
                () = notifier::until(until) => {}
                () = engine.shutdown.cancelled() => {}
            }
        }
        engine.measures.sync.read.count();
        answer.pos = connection.save(engine, &state, token).await?.to_string();
        return Ok(answer);
    }
}

/// Removes the messages that the device says it has, if there are any.
async fn acknowledge(
    engine: &Engine,
    asking: Asking<'_>,
    device: &ruma::DeviceId,
    until: i64,
) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let head = starling_storage::facts::head(&mut conn).await?;
    let (user_id, device_id) = (asking.user_id.as_str(), device.as_str());
    let span = (0, until.min(head));
    let seen = starling_storage::to_device::waiting(&mut conn, user_id, device_id, span, 1).await?;
    drop(conn);
    match seen.is_empty() {
        true => Ok(()),
        false => inbox::acknowledge(engine, asking.user_id, device, until.min(head)).await,
    }
}

/// Reads the present, and finds out what it needs to know of memberships that are new to it.
async fn read(
    engine: &Engine,
    asking: Asking<'_>,
    request: &Request,
    connection: &Connection,
) -> Result<Moment, Internal> {
    for _ in 0..MOST_ROUNDS {
        let moment = Moment::read(engine, asking, request, connection).await?;
        if moment.unresolved.is_empty() {
            return Ok(moment);
        }
        outside::resolve(engine, asking, &moment.unresolved).await?;
    }
    Moment::read(engine, asking, request, connection).await
}

async fn put_together(
    engine: &Engine,
    asking: Asking<'_>,
    request: &Request,
    connection: &Connection,
    moment: Moment,
) -> Result<(Answer, State), Internal> {
    let sent = connection.state.rooms().filter(|(_, room)| room.events.is_any());
    let mut sliding = Sliding {
        engine,
        asking,
        request,
        form: Form::bare(),
        sent_before: sent.map(|(room_id, _)| room_id.clone()).collect(),
        state: connection.state.clone(),
        timelines: HashMap::new(),
        moment,
    };
    let mut answer = Answer { lists: sliding.moment.windows.counts.clone(), ..Answer::default() };
    for (room_id, shown) in sliding.moment.windows.rooms.clone() {
        let Some(candidate) = sliding.moment.candidates.get(&room_id).cloned() else { continue };
        if let Some(room) = sliding.tell(&shown, &candidate).await? {
            answer.rooms.insert(room_id, room);
        }
    }
    answer.extensions = extensions::all(&mut sliding).await?;
    sliding.note_untold();
    Ok((answer, sliding.state))
}

impl Sliding<'_> {
    /// What is new of a room that is shown.
    async fn tell(&mut self, shown: &Shown, room: &Candidate) -> Result<Option<Room>, Internal> {
        let row = &room.row;
        let state = self.state.room(&row.room_id);
        let until = state.events.until(self.moment.since);
        let mut told = Told { shown, room, state, until, end: (self.moment.head, 0) };
        let news = match row.membership.as_str() {
            "invite" | "knock" => outside::at_the_door(self, &mut told).await?,
            "join" => {
                let known = self.moment.rooms.get(&row.room_id).cloned();
                let Some(known) = known else { return Ok(None) };
                let Some(mut reader) = self.reader(row).await? else { return Ok(None) };
                told.end.1 = known.current_state;
                room::tell(self, &mut reader, &mut told, Some(&known)).await?
            }
            _ => {
                let Some(mut reader) = self.reader(row).await? else { return Ok(None) };
                outside::left(self, &mut reader, &mut told).await?
            }
        };
        let state = told.state;
        self.state.set_room(&row.room_id, state);
        Ok(news)
    }

    /// The user as the reader of a room.
    async fn reader(&self, row: &MembershipRow) -> Result<Option<Reader>, Internal> {
        let room_id = OwnedRoomId::try_from(&*row.room_id)?;
        let (user_id, device_id) = (self.asking.user_id, self.asking.device_id);
        Reader::new(self.engine, &room_id, user_id, device_id, Some(row)).await
    }

    /// What every room has.
    fn room(&self, candidate: &Candidate, shown: &Shown) -> Room {
        Room {
            membership: candidate.row.membership.clone(),
            lists: shown.lists.clone(),
            bump_stamp: candidate.row.pos,
            ..Room::default()
        }
    }

    /// Whether the user's own receipts moved, so that counts are other ones now.
    fn own_receipt_moved(&self, room_id: &str) -> bool {
        let rows = self.moment.receipts.get(room_id).into_iter().flatten();
        let is_own = |row: &starling_storage::receipts::ReceiptRow| {
            row.user_id == self.asking.user_id.as_str()
        };
        self.request.counts && rows.into_iter().any(is_own)
    }

    /// The rooms of a scope.
    fn shown_in<'s>(&'s self, scope: &'s request::Scope) -> impl Iterator<Item = String> + use<'s> {
        let shown = self.moment.windows.rooms.iter();
        let in_scope = shown.filter(|(id, shown)| scope.holds(id, &shown.lists, shown.subscribed));
        in_scope.map(|(room_id, _)| room_id.clone())
    }

    /// Notes of what was sent before up to where it was sent, if there is more that was not told now.
    fn note_untold(&mut self) {
        let since = self.moment.since;
        let rooms: Vec<String> = self.state.rooms().map(|(room_id, _)| room_id.clone()).collect();
        let wanted = &self.request.extensions;
        for room_id in rooms {
            let shown = self.moment.windows.rooms.get(&room_id);
            let in_scope = |scope: &Option<request::Scope>| {
                let scope = scope.as_ref().zip(shown);
                scope.is_some_and(|(scope, shown)| {
                    scope.holds(&room_id, &shown.lists, shown.subscribed)
                })
            };
            let mut state = self.state.room(&room_id);
            let candidate = self.moment.candidates.get(&room_id);
            let happened = candidate.is_some_and(|room| self.moment.happened(room));
            if shown.is_none() {
                state.events = state.events.after(since, false, happened);
            }
            if !in_scope(&wanted.account_data) {
                let happened = self.moment.account_data.contains_key(&room_id);
                state.account_data = state.account_data.after(since, false, happened);
            }
            if !in_scope(&wanted.receipts) {
                let happened = self.moment.receipts.contains_key(&room_id);
                state.receipts = state.receipts.after(since, false, happened);
            }
            self.state.set_room(&room_id, state);
        }
        if wanted.account_data.is_none() {
            let happened = self.moment.account_data.contains_key("");
            let sent = self.state.account_data;
            self.state.account_data = sent.after(since, false, happened);
        }
    }
}

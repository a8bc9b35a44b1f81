//! Who is typing. Kept in memory only: a restart forgets it, and clients stop showing it by themselves.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use starling_storage::memberships;
use tokio::task::AbortHandle;

use super::partial;
use crate::{Engine, Internal, ephemeral::Edu, rng};

/// How long somebody types at most without saying so again.
pub const LONGEST: Duration = Duration::from_secs(120);

/// How long a user of another server types without their server saying so again.
pub const REMOTE: Duration = Duration::from_secs(30);

/// Why somebody cannot type.
#[derive(Debug, thiserror::Error)]
pub enum TypingError {
    /// They are not joined to the room.
    #[error("the user is not joined to the room")]
    NotJoined,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Who is typing where.
#[derive(Debug)]
pub struct Typing {
    instance: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts changes of lists in all rooms.
    serial: u64,
    /// Numbers the timers.
    next_timer: u64,
    rooms: HashMap<OwnedRoomId, Room>,
}

#[derive(Debug, Default)]
struct Room {
    /// The serial number of the last change of the list.
    changed: u64,
    users: BTreeMap<OwnedUserId, Timer>,
}

#[derive(Debug)]
struct Timer {
    number: u64,
    task: AbortHandle,
}

impl Default for Typing {
    fn default() -> Self {
        Self { instance: rng::token::<6>(), state: Mutex::default() }
    }
}

impl Typing {
    /// The start of this process: serial numbers of another one mean nothing here.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The serial number of the newest change.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.lock().serial
    }

    /// The users who type in a room, if that changed last after `since` and not after `until`.
    #[must_use]
    pub fn changed(&self, room_id: &RoomId, since: u64, until: u64) -> Option<Vec<OwnedUserId>> {
        let state = self.lock();
        let is_due = |room: &&Room| since < room.changed && room.changed <= until;
        let room = state.rooms.get(room_id).filter(is_due)?;
        Some(room.users.keys().cloned().collect())
    }

    /// The rooms of which the same is true, with who types there.
    #[must_use]
    pub fn changed_rooms(&self, since: u64, until: u64) -> Vec<(OwnedRoomId, Vec<OwnedUserId>)> {
        let state = self.lock();
        let is_due = |room: &Room| since < room.changed && room.changed <= until;
        let due = state.rooms.iter().filter(|(_, room)| is_due(room));
        due.map(|(room_id, room)| (room_id.clone(), room.users.keys().cloned().collect())).collect()
    }

    /// Stops the timer of a user who types; whether they did.
    fn remove(&self, room_id: &RoomId, user_id: &UserId, timer: Option<u64>) -> bool {
        let mut state = self.lock();
        let serial = state.serial + 1;
        let Some(room) = state.rooms.get_mut(room_id) else { return false };
        let Some(running) = room.users.get(user_id) else { return false };
        if timer.is_some_and(|number| number != running.number) {
            return false;
        }
        running.task.abort();
        room.users.remove(user_id);
        room.changed = serial;
        state.serial = serial;
        true
    }

    /// Notes that a user types until the timer that is started here ends; whether they did not
    /// before.
    fn insert(
        &self,
        room_id: &RoomId,
        user_id: &UserId,
        start: impl FnOnce(u64) -> AbortHandle,
    ) -> bool {
        let mut state = self.lock();
        state.next_timer += 1;
        // Under the lock, so that a short timer does not end before it is noted.
        let timer = Timer { number: state.next_timer, task: start(state.next_timer) };
        let serial = state.serial + 1;
        let room = state.rooms.entry(room_id.to_owned()).or_default();
        if let Some(running) = room.users.insert(user_id.to_owned(), timer) {
            running.task.abort();
            return false;
        }
        room.changed = serial;
        state.serial = serial;
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user of this deployment types for some time (at most [`LONGEST`]), or no more (`None`). Other
/// servers are told each time, so that their timers start again.
///
/// # Errors
///
/// [`TypingError`].
pub async fn set(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
    time: Option<Duration>,
) -> Result<(), TypingError> {
    if !is_joined(engine, room_id, user_id).await? {
        return Err(TypingError::NotJoined);
    }
    let changed = apply(engine, room_id, user_id, time);
    if changed || time.is_some() {
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        engine.ephemeral.publish(Edu::Typing { room_id, user_id, typing: time.is_some() });
    }
    Ok(())
}

/// Another server says whether its user types. The caller has made sure that the user is of that
/// server; it is ignored when they are not in the room.
///
/// # Errors
///
/// When the database fails.
pub async fn receive(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
    typing: bool,
) -> Result<(), Internal> {
    let server = user_id.server_name();
    if is_joined(engine, room_id, user_id).await?
        || partial::is_assumed(engine, room_id, server).await?
    {
        apply(engine, room_id, user_id, typing.then_some(REMOTE));
    }
    Ok(())
}

async fn is_joined(engine: &Engine, room_id: &RoomId, user_id: &UserId) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    Ok(row.is_some_and(|row| row.membership == "join"))
}

/// Whether the list of the room is another one now.
fn apply(engine: &Engine, room_id: &RoomId, user_id: &UserId, time: Option<Duration>) -> bool {
    let changed = match time {
        None => engine.typing.remove(room_id, user_id, None),
        Some(time) => {
            let (room, user, time) = (room_id.to_owned(), user_id.to_owned(), time.min(LONGEST));
            let ending = |number| end_after(engine.clone(), room, user, number, time);
            let start = |number| tokio::spawn(ending(number)).abort_handle();
            engine.typing.insert(room_id, user_id, start)
        }
    };
    if changed {
        engine.notifier.typing(room_id);
    }
    changed
}

async fn end_after(
    engine: Engine,
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    number: u64,
    time: Duration,
) {
    tokio::select! {
        () = engine.shutdown.cancelled() => {}
        () = tokio::time::sleep(time) => {
            if engine.typing.remove(&room_id, &user_id, Some(number)) {
                engine.notifier.typing(&room_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;
    use crate::test_support::on_each_database;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_list_changes_with_its_users() {
        on_each_database(async |engine| {
            let (room, a, b) = (room_id!("!r:x.org"), user_id!("@a:x.org"), user_id!("@b:x.org"));
            let typing = &engine.typing;
            assert_eq!(typing.changed(room, 0, u64::MAX), None);
            assert!(apply(&engine, room, a, Some(MINUTE)));
            assert!(!apply(&engine, room, a, Some(MINUTE)), "they type already");
            let since = typing.serial();
            assert_eq!(typing.changed(room, 0, u64::MAX).unwrap(), [a]);
            assert!(apply(&engine, room, b, Some(MINUTE)));
            assert_eq!(typing.changed(room, since, u64::MAX).unwrap(), [a, b]);
            assert!(apply(&engine, room, a, None) && apply(&engine, room, b, None));
            assert!(!apply(&engine, room, b, None), "they stopped already");
            assert_eq!(typing.changed(room, since, u64::MAX).unwrap(), Vec::<OwnedUserId>::new());
            assert_eq!(typing.changed(room, typing.serial(), u64::MAX), None);
        })
        .await;
    }

    #[tokio::test]
    async fn typing_ends_by_itself_and_wakes() {
        on_each_database(async |engine| {
            let (room, user) = (room_id!("!r:x.org"), user_id!("@a:x.org"));
            let waiter = engine.notifier.register(user_id!("@b:x.org"));
            waiter.begin(vec![room.to_string()], 0);
            apply(&engine, room, user, Some(Duration::from_millis(20)));
            waiter.woken().await;
            let waiter = engine.notifier.register(user_id!("@b:x.org"));
            assert_eq!(engine.typing.changed(room, 0, u64::MAX).unwrap(), [user]);
            waiter.begin(vec![room.to_string()], 0);
            waiter.woken().await;
            assert_eq!(
                engine.typing.changed(room, 0, u64::MAX).unwrap(),
                Vec::<OwnedUserId>::new()
            );
        })
        .await;
    }

    #[tokio::test]
    async fn only_members_type() {
        on_each_database(async |engine| {
            let (room, user) = (room_id!("!r:x.org"), user_id!("@a:x.org"));
            let refused = set(&engine, room, user, Some(MINUTE)).await;
            assert!(matches!(refused, Err(TypingError::NotJoined)));
            receive(&engine, room, user_id!("@a:far.org"), true).await.unwrap();
            assert_eq!(engine.typing.changed(room, 0, u64::MAX), None);
        })
        .await;
    }
}

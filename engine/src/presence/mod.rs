//! Who is there, who is told of it, and what it may cost: changes of status are told, and not each
//! sign of life; in rooms with many members nobody is woken for them.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

mod memory;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, time::Duration};

use ruma::{DeviceId, OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use starling_storage::{Conn, Fact, Positioned, memberships};

pub use memory::{IDLE_MS, Memory, Presence, Status};

use crate::{
    Engine, Internal,
    ephemeral::{Edu, Told},
};

/// In rooms with more joined members than this, changes come with the next other news.
const LARGEST_WOKEN: i64 = 200;

/// Of how many users of one room a server is told that comes into it.
const TOLD_ON_JOIN: usize = 100;

/// How many users one `m.presence` may be about; what is more is dropped.
const MAX_PUSHED: usize = 500;

/// How long a status message may be, in bytes.
pub const LONGEST_MESSAGE: usize = 1_024;

/// How often it is looked who is gone.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Why somebody's presence is not shown.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// They share no room.
    #[error("you share no room with this user")]
    NotShared,
    /// Nothing is known, or presence is off.
    #[error("nothing is known")]
    Unknown,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A request to /sync that makes its user present until it is dropped, and a little longer.
#[derive(Debug)]
pub struct Connected {
    engine: Engine,
    user: OwnedUserId,
    device: String,
}

impl Drop for Connected {
    fn drop(&mut self) {
        let now_ms = self.engine.clock.now_ms();
        self.engine.presence.disconnect(&self.user, &self.device, now_ms);
    }
}

/// A device begins a request to /sync, with this status.
///
/// # Errors
///
/// When the database fails.
pub async fn connect(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    status: Status,
) -> Result<Option<Connected>, Internal> {
    if !engine.config.presence.enabled || status == Status::Offline {
        return Ok(None);
    }
    let device = device.to_string();
    let changed = engine.presence.connect(user, &device, status, engine.clock.now_ms());
    let connected = Connected { engine: engine.clone(), user: user.to_owned(), device };
    if changed {
        tell(engine, user).await?;
    }
    Ok(Some(connected))
}

/// A device says what its user's presence is.
///
/// # Errors
///
/// When the database fails.
pub async fn set(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    status: Status,
    message: Option<String>,
) -> Result<(), Internal> {
    let now_ms = engine.clock.now_ms();
    let wanted = (status, message);
    if engine.config.presence.enabled && engine.presence.set(user, device.as_str(), wanted, now_ms)
    {
        tell(engine, user).await?;
    }
    Ok(())
}

/// A user of this server does something that only somebody does who is there.
pub async fn note_active(engine: &Engine, user: &UserId) {
    let now_ms = engine.clock.now_ms();
    if engine.config.presence.enabled
        && engine.presence.active(user, now_ms)
        && let Err(error) = tell(engine, user).await
    {
        tracing::warn!(%error, "nobody was told of a change of presence");
    }
}

/// What somebody's presence is, for a user who shares a room with them.
///
/// # Errors
///
/// [`GetError`].
pub async fn get(engine: &Engine, asking: &UserId, user: &UserId) -> Result<Presence, GetError> {
    if !engine.config.presence.enabled {
        return Err(GetError::Unknown);
    }
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let users = [user.to_owned()];
    if asking != user && sharing(&mut conn, asking, &users).await?.is_empty() {
        return Err(GetError::NotShared);
    }
    match engine.presence.get(user) {
        Some(presence) => Ok(presence),
        None if user.server_name() == engine.config.server_name => Ok(Presence::default()),
        None => Err(GetError::Unknown),
    }
}

/// Those of the users who share a room with somebody.
///
/// # Errors
///
/// When the database fails.
pub async fn sharing(
    conn: &mut Conn,
    user: &UserId,
    others: &[OwnedUserId],
) -> Result<HashSet<OwnedUserId>, Internal> {
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    let found = memberships::sharing(conn, user.as_str(), &others).await?;
    Ok(found.into_iter().map(OwnedUserId::try_from).collect::<Result<_, _>>()?)
}

/// The content of `m.presence`.
#[must_use]
pub fn content(presence: &Presence, now_ms: i64) -> Value {
    let mut content = json!({ "presence": presence.status.name() });
    if presence.active_ms > 0 {
        content["last_active_ago"] = json!((now_ms - presence.active_ms).max(0));
    }
    if let Some(message) = &presence.message {
        content["status_msg"] = json!(message);
    }
    content
}

/// Tells who shares a room with a user that their presence changed.
async fn tell(engine: &Engine, user: &UserId) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let rooms = memberships::small_rooms(&mut conn, user.as_str(), LARGEST_WOKEN).await?;
    drop(conn);
    engine.notifier.presence(user, rooms);
    if user.server_name() == engine.config.server_name {
        tell_servers(engine, user, Told::Sharing);
    }
    Ok(())
}

/// Tells other servers of a user of this one.
fn tell_servers(engine: &Engine, user: &UserId, told: Told) {
    if let Some(presence) = engine.presence.get(user) {
        engine.ephemeral.publish(Edu::Presence { user_id: user.to_owned(), presence, told });
    }
}

/// Takes in what a server says about the presence of its users; what it says of others, and of users
/// who are in no room that is known here, is dropped.
///
/// # Errors
///
/// When the database fails.
pub async fn receive(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
) -> Result<(), Internal> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        push: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Push {
        user_id: OwnedUserId,
        presence: String,
        status_msg: Option<String>,
        last_active_ago: Option<i64>,
    }
    if !engine.config.presence.enabled {
        return Ok(());
    }
    let Ok(content) = serde_json::from_str::<Content<'_>>(content.get()) else { return Ok(()) };
    let pushed = content.push.iter().take(MAX_PUSHED);
    let pushed = pushed.filter_map(|push| serde_json::from_str::<Push>(push.get()).ok());
    let pushed: Vec<Push> = pushed.filter(|push| push.user_id.server_name() == origin).collect();
    let users: Vec<String> = pushed.iter().map(|push| push.user_id.to_string()).collect();
    let mut conn = engine.storage.read().await?;
    let known: HashSet<String> =
        memberships::joined_anywhere(&mut conn, &users).await?.into_iter().collect();
    drop(conn);
    let now_ms = engine.clock.now_ms();
    for push in pushed {
        let Some(status) = Status::of_name(&push.presence) else { continue };
        if !known.contains(push.user_id.as_str()) {
            continue;
        }
        let message = push.status_msg.filter(|it| !it.is_empty() && it.len() <= LONGEST_MESSAGE);
        let ago = push.last_active_ago.unwrap_or(0).clamp(0, now_ms);
        let presence = Presence { status, message, active_ms: now_ms - ago };
        if engine.presence.receive(&push.user_id, presence, now_ms) {
            tell(engine, &push.user_id).await?;
        }
    }
    Ok(())
}

/// Looks who is gone, and introduces those who come into a room, until the process shuts down.
pub async fn run(engine: Engine) {
    if !engine.config.presence.enabled {
        return;
    }
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    let mut facts = engine.storage.feed().listen();
    loop {
        let done = tokio::select! {
            () = engine.shutdown.cancelled() => return,
            _ = ticks.tick() => sweep(&engine).await,
            heard = facts.next(engine.storage.db()) => match heard {
                Ok(Some(facts)) => introduce(&engine, &facts).await,
                Ok(None) => return,
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = done {
            tracing::warn!(%error, "nobody was told of a change of presence");
        }
    }
}

/// Tells of those who are gone, and reminds other servers of those who are still there.
///
/// # Errors
///
/// When the database fails.
pub async fn sweep(engine: &Engine) -> Result<(), Internal> {
    let (changed, again) = engine.presence.sweep(engine.clock.now_ms());
    for user in changed {
        tell(engine, &user).await?;
    }
    for user in again {
        tell_servers(engine, &user, Told::Sharing);
    }
    Ok(())
}

/// Those who are in a room learn of who comes into it, and a server that comes into it of who is
/// there. Whoever changes their profile does so in all of their rooms, and is told of in each by itself.
async fn introduce(engine: &Engine, facts: &[Positioned]) -> Result<(), Internal> {
    for Positioned { pos, fact } in facts {
        let Fact::Event { room_id, member: Some(member), .. } = fact else { continue };
        let Ok(user) = OwnedUserId::try_from(member.as_str()) else { continue };
        let is_local = user.server_name() == engine.config.server_name;
        if is_local && engine.presence.get(&user).is_none() {
            continue;
        }
        let mut conn = engine.storage.read().await?;
        let row = memberships::get(&mut conn, member, room_id).await?;
        if row.is_none_or(|row| row.membership != "join" || row.pos != *pos) {
            continue;
        }
        if engine.presence.repeat(&user) {
            engine.notifier.presence(&user, vec![room_id.clone()]);
        }
        if is_local {
            tell_servers(engine, &user, Told::InRoom(room_id.as_str().try_into()?));
            continue;
        }
        let here = memberships::local_joined(&mut conn, room_id).await?;
        let here = here.into_iter().filter_map(|id| id.try_into().ok()).collect();
        for local in engine.presence.there(here).into_iter().take(TOLD_ON_JOIN) {
            tell_servers(engine, &local, Told::Only(user.server_name().to_owned()));
        }
    }
    Ok(())
}

/// Those in some rooms who are there.
///
/// # Errors
///
/// When the database fails.
pub async fn there_in(
    engine: &Engine,
    conn: &mut Conn,
    rooms: &[String],
) -> Result<Vec<OwnedUserId>, Internal> {
    let everybody = engine.presence.changed(0, u64::MAX);
    if everybody.is_empty() || rooms.is_empty() {
        return Ok(vec![]);
    }
    let everybody: Vec<String> = everybody.iter().map(ToString::to_string).collect();
    let found = memberships::joined_of(conn, rooms, &everybody).await?;
    Ok(found.into_iter().map(OwnedUserId::try_from).collect::<Result<_, _>>()?)
}

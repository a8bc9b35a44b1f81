//! Bringing the words of the directory behind what changes.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, RoomId, UserId};
use serde_json::Value;
use starling_storage::{
    Change,
    user_directory::{self as rows, Place, Subject, Write},
};
use tokio::sync::{Mutex, MutexGuard};

use super::names;
use crate::{
    Engine, Internal,
    behind::Rounds,
    rooms::{append::openness, batch::Batch, room},
};

/// How many memberships, accounts or rooms are looked at at once.
const BATCH: usize = 500;

/// How many batches a search waits for at most.
const WAITED_FOR: usize = 10;

/// How far the directory is; whoever holds it goes on.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Option<Place>>);

/// Follows until the process shuts down.
pub async fn run(engine: Engine) {
    let mut rounds = Rounds::new(&engine);
    while rounds.next().await {
        if let Err(error) = all(&engine).await {
            tracing::warn!(%error, "the user directory could not follow yet");
        }
    }
}

/// Everything that is new, then everything that was there before.
pub(super) async fn all(engine: &Engine) -> Result<(), Internal> {
    while step(engine).await? {}
    before(engine).await
}

#[cfg(test)]
pub(super) async fn start_again(engine: &Engine) {
    *engine.accounts.directory.0.lock().await = None;
}

/// Brings the directory up to what has happened before now. When there is too much to wait for, the
/// rest is left for later.
///
/// # Errors
///
/// When the database fails.
pub async fn catch_up(engine: &Engine) -> Result<(), Internal> {
    for _ in 0..WAITED_FOR {
        if !step(engine).await? {
            break;
        }
    }
    Ok(())
}

/// Adds to `change` by which words a local user is found.
pub(crate) fn name(change: &mut Change, user_id: &UserId, display_name: Option<&str>) {
    let words = names::words(user_id, display_name);
    change.write(Write::Words { user_id: user_id.to_string(), words });
}

/// Adds to `change` that a user is found no more.
pub(crate) fn remove(change: &mut Change, user_id: &UserId) {
    change.write(Write::Words { user_id: user_id.to_string(), words: vec![] });
}

/// The words of users of other servers whose memberships changed; whether there may be more.
async fn step(engine: &Engine) -> Result<bool, Internal> {
    let mut place = engine.accounts.directory.0.lock().await;
    let from = reached(engine, &mut place).await?;
    // Whatever is at or below the head can be read.
    let head = engine.storage.feed().head();
    if head < from.pos {
        return Ok(false);
    }
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut conn = engine.storage.read().await?;
    let changed = rows::changed(&mut conn, &from, head, limit).await?;
    drop(conn);
    let is_full = changed.len() == BATCH;
    let remote = changed.iter().filter(|(_, local)| !local).map(|(place, _)| place.user_id.clone());
    let remote: BTreeSet<String> = remote.collect();
    let last = changed.into_iter().last().map(|(place, _)| place);
    let next = match last {
        Some(last) if is_full => last,
        // Everything at the head was looked at.
        _ => Place { pos: head + 1, ..Place::default() },
    };
    if !remote.is_empty() || is_full {
        let mut change = Change::new();
        name_remote(engine, &mut change, remote.into_iter().collect()).await?;
        change.write(Write::Progress { subject: Subject::Memberships, place: next.clone() });
        engine.storage.commit(change).await?;
    }
    *place = Some(next);
    Ok(is_full)
}

async fn reached(
    engine: &Engine,
    place: &mut MutexGuard<'_, Option<Place>>,
) -> Result<Place, Internal> {
    if let Some(reached) = &**place {
        return Ok(reached.clone());
    }
    let mut conn = engine.storage.read().await?;
    Ok(rows::progress(&mut conn, Subject::Memberships).await?)
}

async fn name_remote(
    engine: &Engine,
    change: &mut Change,
    users: Vec<String>,
) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = rows::names(&mut conn, &users).await?;
    drop(conn);
    let mut names: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (user_id, name) in rows {
        names.entry(user_id).or_default().push(name);
    }
    for user_id in users {
        let Ok(id) = OwnedUserId::try_from(user_id.as_str()) else { continue };
        // Who is in no room can be found by nobody.
        let words = names
            .get(&user_id)
            .map(|names| names::words(&id, names.iter().flatten().map(String::as_str)));
        change.write(Write::Words { user_id, words: words.unwrap_or_default() });
    }
    Ok(())
}

/// What was there before the directory: accounts, and rooms that are open.
async fn before(engine: &Engine) -> Result<(), Internal> {
    while accounts(engine).await? {}
    while rooms(engine).await? {}
    Ok(())
}

/// The words of accounts; whether there may be more.
async fn accounts(engine: &Engine) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let from = rows::progress(&mut conn, Subject::Accounts).await?;
    if from.pos == DONE {
        return Ok(false);
    }
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let users = rows::accounts_after(&mut conn, &from.user_id, limit).await?;
    let fields = rows::profiles(&mut conn, &users).await?;
    drop(conn);
    let fields = fields.into_iter().filter(|row| row.field == "displayname");
    let named: BTreeMap<String, String> = fields.map(|row| (row.user_id, row.value)).collect();
    let mut change = Change::new();
    for user_id in &users {
        let name = named.get(user_id).and_then(|value| text(value));
        name_account(&mut change, user_id, name.as_deref());
    }
    let is_full = users.len() == BATCH;
    let pos = if is_full { 0 } else { DONE };
    let user_id = users.into_iter().last().unwrap_or_default();
    let place = Place { pos, user_id, room_id: String::new() };
    change.write(Write::Progress { subject: Subject::Accounts, place });
    engine.storage.commit(change).await?;
    Ok(is_full)
}

/// What stands for the position when nothing is left of what was there before.
const DONE: i64 = 1;

fn name_account(change: &mut Change, user_id: &str, display_name: Option<&str>) {
    if let Ok(user_id) = <&UserId>::try_from(user_id) {
        name(change, user_id, display_name);
    }
}

/// A string of a profile.
pub(crate) fn text(json: &str) -> Option<String> {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Notes which rooms are open; whether there may be more.
async fn rooms(engine: &Engine) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let from = rows::progress(&mut conn, Subject::Rooms).await?;
    if from.pos == DONE {
        return Ok(false);
    }
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let room_ids = rows::rooms_after(&mut conn, &from.room_id, limit).await?;
    drop(conn);
    for room_id in &room_ids {
        note_room(engine, <&RoomId>::try_from(room_id.as_str())?).await?;
    }
    let is_full = room_ids.len() == BATCH;
    let pos = if is_full { 0 } else { DONE };
    let room_id = room_ids.into_iter().last().unwrap_or_default();
    let mut change = Change::new();
    let place = Place { pos, user_id: String::new(), room_id };
    change.write(Write::Progress { subject: Subject::Rooms, place });
    engine.storage.commit(change).await?;
    Ok(is_full)
}

/// Notes whether a room is open, while nothing else happens there.
async fn note_room(engine: &Engine, room_id: &RoomId) -> Result<(), Internal> {
    let Some(guard) = room::lock(engine, room_id).await? else { return Ok(()) };
    let batch = Batch::new(engine, &guard);
    if openness::is_open(&batch).await? {
        let mut change = Change::new();
        change.write(Write::Room { room_id: room_id.to_string(), open: true });
        engine.storage.commit(change).await?;
    }
    Ok(())
}

//! Files: whose they are, which a room names, and that nobody is given them any more.
//!
//! Content is held back by its hash: under every name, and also when it is uploaded or fetched again.

use std::collections::{BTreeSet, HashSet};

use ruma::{RoomId, UserId};
use serde_json::Value;
use starling_storage::{
    Change,
    admin::media as rows,
    media::{self as files, MediaRow, Write, quarantine},
};

pub use starling_storage::admin::media::{Order, Page, UserOrder, UserRow, Wanted};
pub use starling_storage::media::MediaRow as File;

use crate::{
    Engine, Internal,
    media::{MediaId, sweep},
};

/// How many rows are read, or removed with one change.
const BATCH: i64 = 100;

/// What is known of a file here.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, id: &MediaId) -> Result<Option<File>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(files::get(&mut conn, id.origin().as_str(), id.id()).await?)
}

/// Some of the files that a user of this server has uploaded, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(
    engine: &Engine,
    user: &UserId,
    page: Page<Order>,
) -> Result<(Vec<File>, i64), Internal> {
    Ok(rows::of_user(&mut engine.storage.read().await?, user.as_str(), page).await?)
}

/// Users who uploaded something, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn users(engine: &Engine, wanted: &Wanted) -> Result<(Vec<UserRow>, i64), Internal> {
    Ok(rows::users(&mut engine.storage.read().await?, wanted).await?)
}

/// Where an event names files, encrypted ones too.
const NAMED: [&str; 4] = [
    "/content/url",
    "/content/file/url",
    "/content/info/thumbnail_url",
    "/content/info/thumbnail_file/url",
];

/// The files that an event names. Pure.
fn named(json: &str) -> Vec<MediaId> {
    let event: Value = serde_json::from_str(json).unwrap_or_default();
    let addresses = NAMED.iter().filter_map(|place| event.pointer(place)?.as_str());
    addresses.filter_map(MediaId::from_uri).collect()
}

/// The files that events of a room name, each once, whether they are here or not.
///
/// # Errors
///
/// When the database fails.
pub async fn of_room(engine: &Engine, room_id: &RoomId) -> Result<Vec<MediaId>, Internal> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut after = i64::MIN;
    loop {
        let mut conn = engine.storage.read().await?;
        let events = rows::events_with_files(&mut conn, room_id.as_str(), after, BATCH).await?;
        drop(conn);
        let Some((last, _)) = events.last() else { return Ok(found) };
        after = *last;
        let files = events.iter().flat_map(|(_, json)| named(json));
        found.extend(files.filter(|id| seen.insert(id.clone())));
    }
}

/// Which files are meant.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// One.
    One(&'a MediaId),
    /// All that a user of this server has uploaded.
    Of(&'a UserId),
    /// All that a room names and that are here.
    In(&'a RoomId),
}

/// Holds files back, but those that are protected; says how many are held back now.
///
/// # Errors
///
/// When the database fails.
pub async fn quarantine(
    engine: &Engine,
    by: &str,
    selection: Selection<'_>,
) -> Result<i64, Internal> {
    let hashes = hashes(engine, selection).await?;
    let mut change = Change::new();
    for hash in &hashes {
        let (hash, by, ts) = (hash.clone(), by.to_owned(), engine.clock.now_ms());
        change.write(Write::Quarantine(quarantine::Write::Hold { hash, by, ts }));
    }
    if change.is_empty() {
        return Ok(0);
    }
    engine.storage.commit(change).await?;
    Ok(rows::count_quarantined(&mut engine.storage.read().await?, &hashes).await?)
}

async fn hashes(engine: &Engine, selection: Selection<'_>) -> Result<Vec<String>, Internal> {
    match selection {
        Selection::One(id) => {
            Ok(get(engine, id).await?.and_then(|file| file.hash).into_iter().collect())
        }
        Selection::Of(user) => {
            let mut conn = engine.storage.read().await?;
            Ok(rows::hashes_of_user(&mut conn, user.as_str()).await?)
        }
        Selection::In(room) => {
            let mut hashes = BTreeSet::new();
            for id in of_room(engine, room).await? {
                hashes.extend(get(engine, &id).await?.and_then(|file| file.hash));
            }
            Ok(hashes.into_iter().collect())
        }
    }
}

/// Gives a file out again that was held back.
///
/// # Errors
///
/// When the database fails.
pub async fn release(engine: &Engine, file: File) -> Result<(), Internal> {
    let Some(hash) = file.hash else { return Ok(()) };
    let mut change = Change::new();
    change.write(Write::Quarantine(quarantine::Write::Release { hash }));
    engine.storage.commit(change).await?;
    Ok(())
}

/// Says whether a file is not to be held back from now on.
///
/// # Errors
///
/// When the database fails.
pub async fn protect(engine: &Engine, id: &MediaId, protected: bool) -> Result<(), Internal> {
    let (origin, media_id) = (id.origin().to_string(), id.id().to_owned());
    let mut change = Change::new();
    let write = quarantine::Write::Protect { origin, media_id, protected };
    change.write(Write::Quarantine(write));
    engine.storage.commit(change).await?;
    Ok(())
}

/// Removes files for good, and says which.
///
/// # Errors
///
/// When the database or the store fails.
pub async fn remove(engine: &Engine, files: Vec<File>) -> Result<Vec<String>, Internal> {
    let mut removed = Vec::with_capacity(files.len());
    let mut change = Change::new();
    for file in files {
        removed.push(file.media_id.clone());
        change.write(sweep::removal(file));
    }
    if !change.is_empty() {
        engine.storage.commit(change).await?;
        sweep::empty_bin(engine).await?;
    }
    Ok(removed)
}

/// Which files of this server's users are old.
#[derive(Clone, Copy, Debug)]
pub struct Old {
    /// Nobody wanted them since then.
    pub before_ts: i64,
    /// They are larger than so many bytes.
    pub larger_than: i64,
    /// Those stay that are avatars of users or rooms.
    pub keep_avatars: bool,
}

/// Removes old files for good, and says which.
///
/// # Errors
///
/// When the database or the store fails.
pub async fn remove_old(engine: &Engine, old: Old) -> Result<Vec<String>, Internal> {
    let kept = if old.keep_avatars { avatars(engine).await? } else { HashSet::new() };
    let (mut removed, mut after) = (Vec::new(), String::new());
    loop {
        let mut conn = engine.storage.read().await?;
        let (before, larger) = (old.before_ts, old.larger_than);
        let found = rows::unused_local(&mut conn, before, larger, &after, BATCH).await?;
        drop(conn);
        let Some(last) = found.last() else { return Ok(removed) };
        after.clone_from(&last.media_id);
        let stays = |file: &MediaRow| {
            MediaId::new(&file.origin, &file.media_id).is_some_and(|id| kept.contains(&id))
        };
        let going = found.into_iter().filter(|file| !stays(file)).collect();
        removed.extend(remove(engine, going).await?);
    }
}

async fn avatars(engine: &Engine) -> Result<HashSet<MediaId>, Internal> {
    let (users, rooms) = rows::avatars(&mut engine.storage.read().await?).await?;
    let of_users = users.iter().filter_map(|json| serde_json::from_str::<String>(json).ok());
    let mut avatars: HashSet<_> =
        of_users.filter_map(|address| MediaId::from_uri(&address)).collect();
    avatars.extend(rooms.iter().flat_map(|json| named(json)));
    Ok(avatars)
}

/// Forgets what was fetched of other servers and nobody wanted since `before`; says how much. It is
/// fetched again when somebody wants it.
///
/// # Errors
///
/// When the database or the store fails.
pub async fn purge_cache(engine: &Engine, before: i64) -> Result<u64, Internal> {
    let forgotten = sweep::forget_remote(engine, before, None).await?;
    sweep::empty_bin(engine).await?;
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_files_in_four_places() {
        let json = r#"{"content":{"url":"mxc://a/1","file":{"url":"mxc://a/2"},"body":"mxc://a/5",
            "info":{"thumbnail_url":"mxc://a/3","thumbnail_file":{"url":"mxc://b/4"}}}}"#;
        let found: Vec<_> = named(json).iter().map(MediaId::to_string).collect();
        assert_eq!(found, ["mxc://a/1", "mxc://a/2", "mxc://a/3", "mxc://b/4"]);
        let crooked = r#"{"content":{"url":"mxc://a/1","info":7,"file":["mxc://a/2"]}}"#;
        assert_eq!(named(crooked).len(), 1);
        for json in [r#"{"content":{"url":7}}"#, r#"{"content":{"url":"https://a/1"}}"#, "nonsense"]
        {
            assert!(named(json).is_empty(), "{json}");
        }
    }
}

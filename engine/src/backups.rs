//! Backups of the keys of sessions. What is in them only clients can read.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

use std::collections::BTreeMap;

use ruma::UserId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_storage::{
    Change, Claim, CommitError,
    backups::{self as rows, BackupRow, SessionRow, Write},
};

use crate::{Engine, Internal};

/// How many backups a user may have.
const MOST_BACKUPS: i64 = 100;
/// How many sessions a backup may have.
const MOST_SESSIONS: i64 = 1_000_000;
/// How many sessions one request may hold.
const MOST_AT_ONCE: usize = 10_000;
/// How many bytes a name may have.
const LONGEST_NAME: usize = 255;
/// How many bytes the data of a session or of an algorithm may have.
const LARGEST_DATA: usize = 64 * 1024;
/// How many sessions are read at a time.
const PAGE: i64 = 500;
/// How often a number is looked for when another process was faster.
const TRIES: usize = 10;

/// A backup as clients see it.
#[derive(Debug, Serialize)]
pub struct Backup {
    /// How its sessions are encrypted.
    pub algorithm: String,
    /// What that needs.
    pub auth_data: Box<RawValue>,
    /// How many sessions it has.
    pub count: i64,
    /// Another one after every change.
    pub etag: String,
    /// Its number.
    pub version: String,
}

/// What is left of a backup after a change.
#[derive(Debug, Serialize)]
pub struct State {
    /// How many sessions it has.
    pub count: i64,
    /// Another one after every change.
    pub etag: String,
}

/// The key of a session.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    /// The first message that the key decrypts.
    pub first_message_index: u32,
    /// How often the key was forwarded.
    pub forwarded_count: u32,
    /// Whether the device it came from was verified.
    pub is_verified: bool,
    /// The key, encrypted.
    pub session_data: Box<RawValue>,
}

/// Sessions by room and name.
pub type Sessions = BTreeMap<String, BTreeMap<String, Session>>;

/// Why something is not done with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such backup.
    #[error("there is no such backup")]
    NotFound,
    /// It is not the newest one.
    #[error("the newest backup has another version")]
    WrongVersion {
        /// The newest one.
        current: String,
    },
    /// The algorithm or the version cannot be changed.
    #[error("{0}")]
    Fixed(&'static str),
    /// Something is not of its form.
    #[error("{0}")]
    Malformed(&'static str),
    /// There is too much.
    #[error("the backup is too large")]
    TooLarge,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for BackupError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

fn number(version: &str) -> Result<i64, BackupError> {
    version.parse().map_err(|_| BackupError::NotFound)
}

fn check_data(algorithm: &str, auth_data: &RawValue) -> Result<(), BackupError> {
    if algorithm.is_empty() || algorithm.len() > LONGEST_NAME {
        return Err(BackupError::Malformed("`algorithm` is empty or too long"));
    }
    if !auth_data.get().starts_with('{') {
        return Err(BackupError::Malformed("`auth_data` is an object"));
    }
    match auth_data.get().len() <= LARGEST_DATA {
        true => Ok(()),
        false => Err(BackupError::TooLarge),
    }
}

/// Makes a backup, and gives back its number.
///
/// # Errors
///
/// [`BackupError`].
pub async fn create(
    engine: &Engine,
    user: &UserId,
    algorithm: &str,
    auth_data: &RawValue,
) -> Result<String, BackupError> {
    check_data(algorithm, auth_data)?;
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    for attempt in 1.. {
        let mut conn = engine.storage.read().await?;
        let (last, count) = rows::last(&mut conn, user.as_str()).await?;
        drop(conn);
        if count >= MOST_BACKUPS {
            return Err(BackupError::TooLarge);
        }
        let mut change = Change::new();
        change.claim(Claim::NewBackup(BackupRow {
            user_id: user.to_string(),
            version: last + 1,
            algorithm: algorithm.to_owned(),
            auth_data: auth_data.get().to_owned(),
            ..BackupRow::default()
        }));
        match engine.storage.commit(change).await {
            Ok(_) => return Ok((last + 1).to_string()),
            Err(CommitError::UsedUp) if attempt < TRIES => {}
            Err(error) => return Err(Internal::from(error).into()),
        }
    }
    Err(BackupError::NotFound)
}

/// A backup: that of this number, or the newest one.
///
/// # Errors
///
/// [`BackupError`].
pub async fn get(
    engine: &Engine,
    user: &UserId,
    version: Option<&str>,
) -> Result<Backup, BackupError> {
    let row = row(engine, user, version).await?;
    Ok(Backup {
        algorithm: row.algorithm,
        auth_data: RawValue::from_string(row.auth_data).map_err(Internal::from)?,
        count: row.sessions,
        etag: row.etag.to_string(),
        version: row.version.to_string(),
    })
}

async fn row(
    engine: &Engine,
    user: &UserId,
    version: Option<&str>,
) -> Result<BackupRow, BackupError> {
    let version = version.map(number).transpose()?;
    let mut conn = engine.storage.read().await?;
    rows::get(&mut conn, user.as_str(), version).await?.ok_or(BackupError::NotFound)
}

/// Sets what the algorithm of a backup needs.
///
/// # Errors
///
/// [`BackupError`].
pub async fn update(
    engine: &Engine,
    user: &UserId,
    version: &str,
    algorithm: &str,
    auth_data: &RawValue,
) -> Result<(), BackupError> {
    check_data(algorithm, auth_data)?;
    let row = row(engine, user, Some(version)).await?;
    if row.algorithm != algorithm {
        return Err(BackupError::Fixed("the algorithm of a backup does not change"));
    }
    let (user_id, auth_data) = (user.to_string(), auth_data.get().to_owned());
    write(engine, Write::AuthData { user_id, version: row.version, auth_data }).await
}

/// Removes a backup.
///
/// # Errors
///
/// [`BackupError`].
pub async fn remove(engine: &Engine, user: &UserId, version: &str) -> Result<(), BackupError> {
    let version = row(engine, user, Some(version)).await?.version;
    write(engine, Write::Remove { user_id: user.to_string(), version }).await
}

async fn write(engine: &Engine, write: Write) -> Result<(), BackupError> {
    let mut change = Change::new();
    change.write(write);
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// Puts sessions into the newest backup, which must have this number.
///
/// # Errors
///
/// [`BackupError`].
pub async fn put(
    engine: &Engine,
    user: &UserId,
    version: &str,
    sessions: Sessions,
) -> Result<State, BackupError> {
    let newest = row(engine, user, None).await?;
    let wrong =
        |newest: &BackupRow| BackupError::WrongVersion { current: newest.version.to_string() };
    if newest.version.to_string() != version {
        return Err(wrong(&newest));
    }
    let rows = session_rows(sessions)?;
    if newest.sessions.saturating_add(i64::try_from(rows.len()).unwrap_or(i64::MAX)) > MOST_SESSIONS
    {
        return Err(BackupError::TooLarge);
    }
    let (user_id, version) = (user.to_string(), newest.version);
    let mut change = Change::new();
    change.claim(Claim::NewestBackup { user_id: user_id.clone(), version });
    change.write(Write::Sessions { user_id, version, rows });
    match engine.storage.commit(change).await {
        Ok(_) => state(engine, user, version).await,
        Err(CommitError::UsedUp) => Err(wrong(&row(engine, user, None).await?)),
        Err(error) => Err(Internal::from(error).into()),
    }
}

fn session_rows(sessions: Sessions) -> Result<Vec<SessionRow>, BackupError> {
    let mut rows = Vec::new();
    for (room_id, sessions) in sessions {
        for (session_id, session) in sessions {
            let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
            if !is_name(&room_id) || !is_name(&session_id) {
                return Err(BackupError::Malformed("a room's or a session's ID is too long"));
            }
            let data = session.session_data.get();
            if !data.starts_with('{') {
                return Err(BackupError::Malformed("`session_data` is an object"));
            }
            if data.len() > LARGEST_DATA || rows.len() >= MOST_AT_ONCE {
                return Err(BackupError::TooLarge);
            }
            rows.push(SessionRow {
                room_id: room_id.clone(),
                session_id,
                first_message_index: session.first_message_index.into(),
                forwarded_count: session.forwarded_count.into(),
                is_verified: session.is_verified,
                session_data: data.to_owned(),
            });
        }
    }
    Ok(rows)
}

async fn state(engine: &Engine, user: &UserId, version: i64) -> Result<State, BackupError> {
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, user.as_str(), Some(version)).await?;
    let row = row.ok_or(BackupError::NotFound)?;
    Ok(State { count: row.sessions, etag: row.etag.to_string() })
}

/// Which sessions of a backup: all, those of a room, or one of a room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    /// The room.
    pub room_id: Option<&'a str>,
    /// The session.
    pub session_id: Option<&'a str>,
}

/// Removes sessions from a backup; those that are not there are gone already.
///
/// # Errors
///
/// [`BackupError`].
pub async fn remove_sessions(
    engine: &Engine,
    user: &UserId,
    version: &str,
    which: Which<'_>,
) -> Result<State, BackupError> {
    let version = row(engine, user, Some(version)).await?.version;
    let owned = |name: Option<&str>| name.map(ToOwned::to_owned);
    let (room_id, session_id) = (owned(which.room_id), owned(which.session_id));
    let user_id = user.to_string();
    write(engine, Write::RemoveSessions { user_id, version, room_id, session_id }).await?;
    state(engine, user, version).await
}

/// A session of a backup.
///
/// # Errors
///
/// [`BackupError`]; that of a session too when there is no such session.
pub async fn session(
    engine: &Engine,
    user: &UserId,
    version: &str,
    room_id: &str,
    session_id: &str,
) -> Result<Session, BackupError> {
    let version = row(engine, user, Some(version)).await?.version;
    let mut conn = engine.storage.read().await?;
    let found = rows::session(&mut conn, user.as_str(), version, room_id, session_id).await?;
    Ok(of_row(found.ok_or(BackupError::NotFound)?)?)
}

fn of_row(row: SessionRow) -> Result<Session, Internal> {
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Session {
        first_message_index: number(row.first_message_index),
        forwarded_count: number(row.forwarded_count),
        is_verified: row.is_verified,
        session_data: RawValue::from_string(row.session_data)?,
    })
}

/// All sessions of a backup or of one of its rooms, a page at a time.
#[derive(Debug)]
pub struct Pages {
    engine: Engine,
    user_id: String,
    version: i64,
    room_id: Option<String>,
    after: (String, String),
    is_over: bool,
}

/// Begins to read the sessions of a backup.
///
/// # Errors
///
/// [`BackupError`].
pub async fn pages(
    engine: &Engine,
    user: &UserId,
    version: &str,
    room_id: Option<&str>,
) -> Result<Pages, BackupError> {
    let version = row(engine, user, Some(version)).await?.version;
    Ok(Pages {
        engine: engine.clone(),
        user_id: user.to_string(),
        version,
        room_id: room_id.map(ToOwned::to_owned),
        after: Default::default(),
        is_over: false,
    })
}

impl Pages {
    /// The next sessions with their rooms and names, by both; none at the end.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn next(&mut self) -> Result<Vec<(String, String, Session)>, Internal> {
        if self.is_over {
            return Ok(Vec::new());
        }
        let mut conn = self.engine.storage.read().await?;
        let (backup, after) = ((&*self.user_id, self.version), (&*self.after.0, &*self.after.1));
        let room_id = self.room_id.as_deref();
        let rows = rows::sessions_after(&mut conn, backup, room_id, after, PAGE).await?;
        match rows.last() {
            Some(last) => self.after = (last.room_id.clone(), last.session_id.clone()),
            None => self.is_over = true,
        }
        let named = |row: SessionRow| {
            let (room_id, session_id) = (row.room_id.clone(), row.session_id.clone());
            Ok((room_id, session_id, of_row(row)?))
        };
        rows.into_iter().map(named).collect()
    }
}

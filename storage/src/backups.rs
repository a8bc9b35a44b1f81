//! Backups of the keys of sessions, which clients encrypt before they send them.

use crate::db::{Conn, Result, Row, sql};

/// A backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupRow {
    /// Whose.
    pub user_id: String,
    /// Its number.
    pub version: i64,
    /// How its sessions are encrypted.
    pub algorithm: String,
    /// What that needs, a JSON object.
    pub auth_data: String,
    /// Rises with every change of its sessions.
    pub etag: i64,
    /// How many sessions it has.
    pub sessions: i64,
}

/// A session in a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRow {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// The first message that the key decrypts.
    pub first_message_index: i64,
    /// How often the key was forwarded.
    pub forwarded_count: i64,
    /// Whether the device it came from was verified.
    pub is_verified: bool,
    /// The key, a JSON object.
    pub session_data: String,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets what the algorithm of a backup needs.
    AuthData {
        /// Whose.
        user_id: String,
        /// Its number.
        version: i64,
        /// A JSON object.
        auth_data: String,
    },
    /// Puts sessions into a backup: of two keys for one, the better stays.
    Sessions {
        /// Whose.
        user_id: String,
        /// Its number.
        version: i64,
        /// The sessions.
        rows: Vec<SessionRow>,
    },
    /// Removes sessions from a backup.
    RemoveSessions {
        /// Whose.
        user_id: String,
        /// Its number.
        version: i64,
        /// Only of that room.
        room_id: Option<String>,
        /// Only that one of that room.
        session_id: Option<String>,
    },
    /// Removes a backup.
    Remove {
        /// Whose.
        user_id: String,
        /// Its number.
        version: i64,
    },
    /// Removes all backups of a user.
    RemoveAll {
        /// The user.
        user_id: String,
    },
}

/// Adds a backup; `false` when its number is taken.
pub(crate) async fn claim_new(conn: &mut Conn, row: &BackupRow) -> Result<bool> {
    let changed = sql("INSERT INTO key_backups \
         (user_id, version, algorithm, auth_data, etag, sessions, deleted) \
         VALUES ($1, $2, $3, $4, 0, 0, 0) ON CONFLICT DO NOTHING")
    .bind(&row.user_id)
    .bind(row.version)
    .bind(&row.algorithm)
    .bind(&row.auth_data)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Whether a backup is the newest of the user; it stays so until the commit.
pub(crate) async fn claim_newest(conn: &mut Conn, user_id: &str, version: i64) -> Result<bool> {
    let changed = sql("UPDATE key_backups SET etag = etag \
         WHERE user_id = $1 AND version = $2 AND deleted = 0 AND NOT EXISTS \
         (SELECT 1 FROM key_backups n WHERE n.user_id = $1 AND n.version > $2 AND n.deleted = 0)")
    .bind(user_id)
    .bind(version)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    match row {
        Write::AuthData { user_id, version, auth_data } => {
            sql("UPDATE key_backups SET auth_data = $3 WHERE user_id = $1 AND version = $2")
                .bind(user_id)
                .bind(version)
                .bind(auth_data)
                .execute(conn)
                .await?;
            Ok(())
        }
        Write::Sessions { user_id, version, rows } => put_all(conn, &user_id, version, rows).await,
        Write::RemoveSessions { user_id, version, room_id, session_id } => {
            let removed = remove_sessions(conn, &user_id, version, room_id, session_id).await?;
            note(conn, &user_id, version, removed > 0, -i64::try_from(removed).unwrap_or(0)).await
        }
        Write::Remove { user_id, version } => {
            remove_sessions(conn, &user_id, version, None, None).await?;
            sql("UPDATE key_backups SET deleted = 1, sessions = 0, auth_data = '{}' \
                 WHERE user_id = $1 AND version = $2")
            .bind(user_id)
            .bind(version)
            .execute(conn)
            .await?;
            Ok(())
        }
        Write::RemoveAll { user_id } => {
            for text in [
                "DELETE FROM key_backup_sessions WHERE user_id = $1",
                "DELETE FROM key_backups WHERE user_id = $1",
            ] {
                sql(text).bind(&user_id).execute(conn).await?;
            }
            Ok(())
        }
    }
}

async fn put_all(
    conn: &mut Conn,
    user_id: &str,
    version: i64,
    rows: Vec<SessionRow>,
) -> Result<()> {
    let (mut changed, mut added) = (false, 0);
    for row in rows {
        if improve(conn, user_id, version, &row).await? {
            changed = true;
        } else if add(conn, user_id, version, &row).await? {
            (changed, added) = (true, added + 1);
        }
    }
    note(conn, user_id, version, changed, added).await
}

/// Puts a key in the place of one that is worse.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2>
async fn improve(conn: &mut Conn, user_id: &str, version: i64, row: &SessionRow) -> Result<bool> {
    let changed = sql("UPDATE key_backup_sessions SET first_message_index = $5, \
         forwarded_count = $6, is_verified = $7, session_data = $8 \
         WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4 AND \
         (is_verified < $7 OR (is_verified = $7 AND (first_message_index > $5 OR \
         (first_message_index = $5 AND forwarded_count > $6))))");
    Ok(bound(changed, user_id, version, row).execute(conn).await? == 1)
}

async fn add(conn: &mut Conn, user_id: &str, version: i64, row: &SessionRow) -> Result<bool> {
    let added = sql("INSERT INTO key_backup_sessions (user_id, version, room_id, session_id, \
         first_message_index, forwarded_count, is_verified, session_data) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING");
    Ok(bound(added, user_id, version, row).execute(conn).await? == 1)
}

fn bound(
    statement: crate::db::Statement,
    user_id: &str,
    version: i64,
    row: &SessionRow,
) -> crate::db::Statement {
    statement
        .bind(user_id)
        .bind(version)
        .bind(&row.room_id)
        .bind(&row.session_id)
        .bind(row.first_message_index)
        .bind(row.forwarded_count)
        .bind(row.is_verified)
        .bind(&row.session_data)
}

async fn note(
    conn: &mut Conn,
    user_id: &str,
    version: i64,
    changed: bool,
    added: i64,
) -> Result<()> {
    if changed {
        sql("UPDATE key_backups SET etag = etag + 1, sessions = sessions + $3 \
             WHERE user_id = $1 AND version = $2")
        .bind(user_id)
        .bind(version)
        .bind(added)
        .execute(conn)
        .await?;
    }
    Ok(())
}

async fn remove_sessions(
    conn: &mut Conn,
    user_id: &str,
    version: i64,
    room_id: Option<String>,
    session_id: Option<String>,
) -> Result<u64> {
    let text = match (&room_id, &session_id) {
        (None, _) => "DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2",
        (Some(_), None) => {
            "DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2 AND room_id = $3"
        }
        (Some(_), Some(_)) => {
            "DELETE FROM key_backup_sessions WHERE user_id = $1 AND version = $2 \
             AND room_id = $3 AND session_id = $4"
        }
    };
    let mut statement = sql(text).bind(user_id).bind(version);
    if let Some(room_id) = room_id {
        statement = statement.bind(room_id);
        if let Some(session_id) = session_id {
            statement = statement.bind(session_id);
        }
    }
    statement.execute(conn).await
}

fn backup_row(row: &Row) -> Result<BackupRow> {
    Ok(BackupRow {
        user_id: row.get(0)?,
        version: row.get(1)?,
        algorithm: row.get(2)?,
        auth_data: row.get(3)?,
        etag: row.get(4)?,
        sessions: row.get(5)?,
    })
}

/// The backup of a user with that number, or the newest one without.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    conn: &mut Conn,
    user_id: &str,
    version: Option<i64>,
) -> Result<Option<BackupRow>> {
    let statement = match version {
        Some(version) => sql("SELECT user_id, version, algorithm, auth_data, etag, sessions \
             FROM key_backups WHERE user_id = $1 AND deleted = 0 AND version = $2")
        .bind(user_id)
        .bind(version),
        None => sql("SELECT user_id, version, algorithm, auth_data, etag, sessions \
             FROM key_backups WHERE user_id = $1 AND deleted = 0 ORDER BY version DESC LIMIT 1")
        .bind(user_id),
    };
    statement.optional(conn).await?.map(|row| backup_row(&row.row())).transpose()
}

/// The highest number that a user's backup ever had, and how many backups there are.
///
/// # Errors
///
/// When the database fails.
pub async fn last(conn: &mut Conn, user_id: &str) -> Result<(i64, i64)> {
    let row = sql("SELECT COALESCE(MAX(version), 0), \
         CAST(COALESCE(SUM(1 - deleted), 0) AS BIGINT) FROM key_backups WHERE user_id = $1")
    .bind(user_id)
    .optional(conn)
    .await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
}

fn session_row(row: &Row) -> Result<SessionRow> {
    Ok(SessionRow {
        room_id: row.get(0)?,
        session_id: row.get(1)?,
        first_message_index: row.get(2)?,
        forwarded_count: row.get(3)?,
        is_verified: row.get(4)?,
        session_data: row.get(5)?,
    })
}

/// A session of a backup.
///
/// # Errors
///
/// When the database fails.
pub async fn session(
    conn: &mut Conn,
    user_id: &str,
    version: i64,
    room_id: &str,
    session_id: &str,
) -> Result<Option<SessionRow>> {
    let row = sql("SELECT room_id, session_id, first_message_index, forwarded_count, \
         is_verified, session_data FROM key_backup_sessions \
         WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id = $4")
    .bind(user_id)
    .bind(version)
    .bind(room_id)
    .bind(session_id)
    .optional(conn)
    .await?;
    row.map(|row| session_row(&row.row())).transpose()
}

/// The first `limit` sessions of a backup after a room and a session, by both: of all rooms, or of one.
///
/// # Errors
///
/// When the database fails.
pub async fn sessions_after(
    conn: &mut Conn,
    (user_id, version): (&str, i64),
    room_id: Option<&str>,
    (after_room, after_session): (&str, &str),
    limit: i64,
) -> Result<Vec<SessionRow>> {
    let statement = match room_id {
        None => sql("SELECT room_id, session_id, first_message_index, forwarded_count, \
             is_verified, session_data FROM key_backup_sessions \
             WHERE user_id = $1 AND version = $2 AND (room_id, session_id) > ($3, $4) \
             ORDER BY room_id, session_id LIMIT $5")
        .bind(user_id)
        .bind(version)
        .bind(after_room),
        Some(room_id) => sql("SELECT room_id, session_id, first_message_index, \
             forwarded_count, is_verified, session_data FROM key_backup_sessions \
             WHERE user_id = $1 AND version = $2 AND room_id = $3 AND session_id > $4 \
             ORDER BY room_id, session_id LIMIT $5")
        .bind(user_id)
        .bind(version)
        .bind(room_id),
    };
    statement.bind(after_session).bind(limit).map(conn, session_row).await
}

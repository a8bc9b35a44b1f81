//! Account data, profiles and filters.

use crate::{
    change::At,
    db::{Conn, Result, sql},
};

/// The content of account data that are removed, so that clients hear of it. Whoever begins to listen
/// is not told.
pub const REMOVED: &str = "{}";

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets account data of a user.
    Put {
        /// The user.
        user_id: String,
        /// The room, or `""` for global data.
        room_id: String,
        /// The event type.
        kind: String,
        /// JSON object.
        content: String,
        /// The fact of the change.
        at: At,
    },
    /// Removes the whole profile of a user.
    RemoveProfile {
        /// The user.
        user_id: String,
    },
    /// Removes what clients keep here for a user: account data and filters.
    RemoveAll {
        /// The user.
        user_id: String,
    },
    /// Sets (`Some`, JSON) or removes a profile field.
    Profile {
        /// The user.
        user_id: String,
        /// The field's name.
        field: String,
        /// JSON value.
        value: Option<String>,
    },
    /// Stores a filter under an id that its content determines.
    Filter {
        /// The user.
        user_id: String,
        /// The id.
        filter_id: String,
        /// The filter as it was sent.
        json: String,
    },
}

/// A piece of account data is as it was when a change to it was made.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The user.
    pub user_id: String,
    /// The room, or `""` for global data.
    pub room_id: String,
    /// The event type.
    pub kind: String,
    /// Where it was set last; 0 when it was not there.
    pub pos: i64,
}

/// Holds the row until the commit; `false` when it was changed. The change must set it.
pub(crate) async fn claim(conn: &mut Conn, expected: &Expected) -> Result<bool> {
    let statement = if expected.pos == 0 {
        sql("INSERT INTO account_data (user_id, room_id, type, content, pos) \
             VALUES ($1, $2, $3, '{}', $4) ON CONFLICT DO NOTHING")
    } else {
        sql("UPDATE account_data SET pos = pos \
             WHERE user_id = $1 AND room_id = $2 AND type = $3 AND pos = $4")
    };
    let changed = statement
        .bind(&expected.user_id)
        .bind(&expected.room_id)
        .bind(&expected.kind)
        .bind(expected.pos)
        .execute(conn)
        .await?;
    Ok(changed == 1)
}

/// Writes the rows of a batch in their order; `base` is the position before each change's facts.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    for (base, row) in rows {
        apply_one(conn, base, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, base: i64, row: Write) -> Result<()> {
    match row {
        Write::Put { user_id, room_id, kind, content, at } => {
            sql("INSERT INTO account_data (user_id, room_id, type, content, pos) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id, room_id, type) DO UPDATE SET \
                 content = excluded.content, pos = excluded.pos")
            .bind(user_id)
            .bind(room_id)
            .bind(kind)
            .bind(content)
            .bind(at.after(base))
        }
        Write::Profile { user_id, field, value: Some(value) } => {
            sql("INSERT INTO profiles (user_id, field, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value")
            .bind(user_id)
            .bind(field)
            .bind(value)
        }
        Write::Profile { user_id, field, value: None } => {
            sql("DELETE FROM profiles WHERE user_id = $1 AND field = $2").bind(user_id).bind(field)
        }
        Write::RemoveAll { user_id } => {
            sql("DELETE FROM filters WHERE user_id = $1").bind(&user_id).execute(conn).await?;
            sql("DELETE FROM account_data WHERE user_id = $1").bind(user_id)
        }
        Write::RemoveProfile { user_id } => {
            sql("DELETE FROM profiles WHERE user_id = $1").bind(user_id)
        }
        Write::Filter { user_id, filter_id, json } => {
            sql("INSERT INTO filters (user_id, filter_id, json) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING")
            .bind(user_id)
            .bind(filter_id)
            .bind(json)
        }
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// Account data of a user set after `after` and up to `until`, as `(room_id, type, content)`;
/// global data has the room `""`. From the beginning (`after` is 0) those are left out that were
/// removed.
///
/// # Errors
///
/// When the database fails.
pub async fn between(
    conn: &mut Conn,
    user_id: &str,
    after: i64,
    until: i64,
) -> Result<Vec<(String, String, String)>> {
    sql("SELECT room_id, type, content FROM account_data \
         WHERE user_id = $1 AND pos > $2 AND pos <= $3 AND ($2 > 0 OR content <> $4) ORDER BY pos")
    .bind(user_id)
    .bind(after)
    .bind(until)
    .bind(REMOVED)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .await
}

/// One piece of account data (JSON).
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    conn: &mut Conn,
    user_id: &str,
    room_id: &str,
    kind: &str,
) -> Result<Option<String>> {
    Ok(get_with_pos(conn, user_id, room_id, kind).await?.map(|(content, _)| content))
}

/// One piece of account data (JSON), and where it was set last.
///
/// # Errors
///
/// When the database fails.
pub async fn get_with_pos(
    conn: &mut Conn,
    user_id: &str,
    room_id: &str,
    kind: &str,
) -> Result<Option<(String, i64)>> {
    let row = sql("SELECT content, pos FROM account_data \
         WHERE user_id = $1 AND room_id = $2 AND type = $3")
    .bind(user_id)
    .bind(room_id)
    .bind(kind)
    .optional(conn)
    .await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// The account data of a user for one room, as `(type, content)`.
///
/// # Errors
///
/// When the database fails.
pub async fn of_room(
    conn: &mut Conn,
    user_id: &str,
    room_id: &str,
) -> Result<Vec<(String, String)>> {
    sql("SELECT type, content FROM account_data WHERE user_id = $1 AND room_id = $2 ORDER BY type")
        .bind(user_id)
        .bind(room_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// One kind of account data of a user in all rooms, as `(room_id, content)`.
///
/// # Errors
///
/// When the database fails.
pub async fn of_kind(conn: &mut Conn, user_id: &str, kind: &str) -> Result<Vec<(String, String)>> {
    sql("SELECT room_id, content FROM account_data WHERE user_id = $1 AND type = $2")
        .bind(user_id)
        .bind(kind)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// How many pieces of account data a user has.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, user_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM account_data WHERE user_id = $1")
        .bind(user_id)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// The profile of a user as `(field, JSON value)`.
///
/// # Errors
///
/// When the database fails.
pub async fn profile(conn: &mut Conn, user_id: &str) -> Result<Vec<(String, String)>> {
    sql("SELECT field, value FROM profiles WHERE user_id = $1 ORDER BY field")
        .bind(user_id)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
        .await
}

/// A stored filter (JSON as it was sent).
///
/// # Errors
///
/// When the database fails.
pub async fn filter(conn: &mut Conn, user_id: &str, filter_id: &str) -> Result<Option<String>> {
    let row = sql("SELECT json FROM filters WHERE user_id = $1 AND filter_id = $2")
        .bind(user_id)
        .bind(filter_id)
        .optional(conn)
        .await?;
    row.map(|row| row.get(0)).transpose()
}

/// How many filters a user has stored.
///
/// # Errors
///
/// When the database fails.
pub async fn filter_count(conn: &mut Conn, user_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM filters WHERE user_id = $1").bind(user_id).optional(conn);
    row.await?.map_or(Ok(0), |row| row.get(0))
}
